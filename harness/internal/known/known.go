// Package known is a user's file of findings that are known, each with a reason, a link
// and a date after which it counts again.
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
	pattern *regexp.Regexp
	expires time.Time // zero: never
}

// Load reads a YAML file, a list of entries such as
//
//   - pattern: ^WARNING in demo_init$ # of the title
//     reason: the driver is being fixed
//     link: https://example.org/bug/1
//     expires: 2027-01-31
//
// pattern and reason must be there. The errors name the entry.
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
		e := entry{Known: k}
		var err error
		switch {
		case k.Pattern == "":
			err = errors.New("no pattern: write a regular expression for the title")
		case k.Reason == "":
			err = errors.New("no reason: say why the finding does not count")
		default:
			e.pattern, err = regexp.Compile(k.Pattern)
		}
		if err == nil && k.Expires != "" {
			if e.expires, err = time.Parse(time.DateOnly, k.Expires); err != nil {
				err = fmt.Errorf("expires %q: write YYYY-MM-DD", k.Expires)
			}
		}
		if err != nil {
			return List{}, fmt.Errorf("entry %d: %w", i+1, err)
		}
		l.entries = append(l.entries, e)
	}
	return l, nil
}

// Mark returns the findings with the known ones marked, and a note on each entry that
// has expired: such findings count again. An entry holds to the end of its day, UTC.
func (l List) Mark(list []result.Finding, now time.Time) (marked []result.Finding, notes []string) {
	marked = append(marked, list...)
	for _, e := range l.entries {
		expired := !e.expires.IsZero() && !now.Before(e.expires.AddDate(0, 0, 1))
		if expired {
			notes = append(notes, fmt.Sprintf("the known finding %q expired on %s and counts again: %s %s", e.Pattern, e.Expires, e.Reason, e.Link))
		}
		for i := range marked {
			if f := &marked[i]; !expired && f.Known == nil && e.pattern.MatchString(f.Title) {
				f.Known = &e.Known
			}
		}
	}
	return marked, notes
}
