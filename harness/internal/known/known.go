// Package known is a user's file of findings and failures that are known, each with a
// reason, a link and a date after which it counts again.
package known

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"regexp"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/unwedge/unwedge/harness/result"
)

// maxFile bounds the file, in bytes.
const maxFile = 1 << 20

// List are the entries of a file, in order. The zero value knows nothing.
type List struct{ entries []entry }

type entry struct {
	result.Known
	pattern  *regexp.Regexp // nil: any title
	releases releases
	expires  time.Time // zero: never
}

// Load reads a YAML file, a list of entries such as
//
//   - pattern: ^WARNING in demo_init$ # of the title
//     reason: the driver is being fixed
//     link: https://example.org/bug/1
//     expires: 2027-01-31
//   - signature: hang/mutex/demo_probe
//     arch: aarch64
//     releases: 6.12..7.3
//     reason: fixed in 7.4
//
// pattern or signature, and reason, must be there. The errors name the entry.
func Load(path string) (List, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return List{}, fmt.Errorf("read known findings: %w", err)
	}
	if len(b) > maxFile {
		return List{}, fmt.Errorf("read known findings %s: more than %d KiB", path, maxFile>>10)
	}
	l, err := parse(b)
	if err != nil {
		return List{}, fmt.Errorf("read known findings %s: %w", path, err)
	}
	return l, nil
}

func parse(b []byte) (List, error) {
	var all []result.Known
	dec := yaml.NewDecoder(bytes.NewReader(b))
	dec.KnownFields(true)
	if err := dec.Decode(&all); err != nil {
		return List{}, err
	}
	var l List
	for i, k := range all {
		e, err := entryOf(k)
		if err != nil {
			return List{}, fmt.Errorf("entry %d: %w", i+1, err)
		}
		l.entries = append(l.entries, e)
	}
	return l, nil
}

func entryOf(k result.Known) (e entry, err error) {
	e.Known = k
	switch {
	case k.Pattern == "" && k.Signature == "":
		return e, errors.New("no pattern and no signature: write a regular expression for the title, or a failure's signature")
	case k.Reason == "":
		return e, errors.New("no reason: say why it does not count")
	}
	if k.Pattern != "" {
		if e.pattern, err = regexp.Compile(k.Pattern); err != nil {
			return e, err
		}
	}
	if e.releases, err = parseReleases(k.Releases); err != nil {
		return e, err
	}
	if k.Expires != "" {
		if e.expires, err = time.Parse(time.DateOnly, k.Expires); err != nil {
			return e, fmt.Errorf("expires %q: write YYYY-MM-DD", k.Expires)
		}
	}
	return e, nil
}

// expired says that the entry no longer holds. It holds to the end of its day, UTC.
func (e entry) expired(now time.Time) bool {
	return !e.expires.IsZero() && !now.Before(e.expires.AddDate(0, 0, 1))
}

// name is what the entry is about.
func (e entry) name() string {
	if e.Pattern != "" {
		return e.Pattern
	}
	return e.Signature
}

// For are the entries for a kernel. Of one whose architecture or release is not known,
// they are those that ask for none.
func (l List) For(arch, release string) (out List) {
	for _, e := range l.entries {
		if (e.Arch == "" || e.Arch == arch) && e.releases.has(release) {
			out.entries = append(out.entries, e)
		}
	}
	return out
}

// Mark returns the findings with the known ones marked, and a note on each entry that
// has expired: what it names counts again. An entry with a signature is for failures.
func (l List) Mark(list []result.Finding, now time.Time) (marked []result.Finding, notes []string) {
	marked = append(marked, list...)
	for _, e := range l.entries {
		if e.expired(now) {
			notes = append(notes, fmt.Sprintf("the known finding %q expired on %s and counts again: %s %s", e.name(), e.Expires, e.Reason, e.Link))
			continue
		}
		for i := range marked {
			if f := &marked[i]; e.Signature == "" && f.Known == nil && e.pattern.MatchString(f.Title) {
				f.Known = &e.Known
			}
		}
	}
	return marked, notes
}

// Failure returns the entry that a failed boot's diagnosis matches; nil if there is none.
func (l List) Failure(d result.Diagnosis, now time.Time) *result.Known {
	for _, e := range l.entries {
		if !e.expired(now) && (e.Signature == "" || e.Signature == d.Signature) && (e.pattern == nil || e.pattern.MatchString(d.Title)) {
			return &e.Known
		}
	}
	return nil
}

// Use is how often an entry was met.
type Use struct {
	result.Known
	// Boots is how many boots the entry was for, Seen in how many of them it was met.
	Boots, Seen int
}

// String is one line on it.
func (u Use) String() string {
	what := u.Pattern
	if what == "" {
		what = u.Signature
	}
	if u.Seen == 0 {
		return fmt.Sprintf("known, and no longer seen in %d boots: %q: is it fixed? %s", u.Boots, what, u.Link)
	}
	return fmt.Sprintf("known, seen in %d of %d boots: %q: %s %s", u.Seen, u.Boots, what, u.Reason, u.Link)
}

// Uses counts for each entry that has not expired the boots that it was for.
func (l List) Uses(boots []*result.Result, now time.Time) (out []Use) {
	for _, e := range l.entries {
		u := Use{Known: e.Known}
		for _, r := range boots {
			if e.expired(now) || len((List{[]entry{e}}).For(string(r.Scenario.Arch), r.Kernel.Release).entries) == 0 {
				continue
			}
			u.Boots++
			seen := r.KnownFailure != nil && *r.KnownFailure == e.Known
			for _, f := range r.Findings {
				seen = seen || f.Known != nil && *f.Known == e.Known
			}
			if seen {
				u.Seen++
			}
		}
		if u.Boots > 0 {
			out = append(out, u)
		}
	}
	return out
}
