// Package packages turns the released kernels that a pattern names into the
// candidates of a bisection: those after a good one, up to a bad one.
//
// The candidates are in one line, by kernel version. That is what a person does
// who installs one release after the other, and it is right as long as what is
// looked for came with one release and stayed. But stable series are branches:
// 6.12.43 was made after 6.16.3, and a fault that was backported to it, or fixed
// there only, breaks the order. The search then ends at a place where a good
// kernel is followed by a bad one, which is true of those two and may not be all
// of the story. Range.Notes says so where series are mixed.
package packages

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// Selection says what to search. A version is given as any of: the kernel
// version (6.12.43, v6.12.43, 7.4-rc2) or its beginning (6.12), the package's
// version (6.12.43-1), its name, the release that `uname -r` prints, or the
// argument that boots it. Of several released kernels that it fits the good end is
// the oldest and the bad end the newest: what is looked for is between these, too.
// Kept files must be told apart.
type Selection struct {
	Good, Bad string
	// Flavour is cloud-amd64, rt-amd64, ...; "" means the only one there is,
	// or the one that the pattern ends in: amd64 of linux-image-*-amd64.
	Flavour string
}

// Range is what there is to search.
type Range struct {
	// Good is the good end. It is not one of the candidates.
	Good candidate.PackageVersion
	// Candidates are oldest first; the last is the bad end.
	Candidates []candidate.PackageVersion
	// Notes are the listing's, and what else a reader of the answer should
	// know, each in one line.
	Notes []string
}

// Bad is the bad end.
func (r *Range) Bad() candidate.PackageVersion { return r.Candidates[len(r.Candidates)-1] }

// Parents gives each candidate's parents as their numbers: the one before it.
func (r *Range) Parents() [][]int {
	out := make([][]int, len(r.Candidates))
	for i := 1; i < len(out); i++ {
		out[i] = []int{i - 1}
	}
	return out
}

// SelectionError says in one line why a selection names no range.
type SelectionError struct {
	Reason string
	// NotThere says that an end fits no kernel that is listed.
	NotThere bool
}

func (e *SelectionError) Error() string { return e.Reason }

func refuse(format string, args ...any) error {
	return &SelectionError{Reason: fmt.Sprintf(format, args...)}
}

// Select finds the range. What cannot be chosen without a guess is a
// *SelectionError that lists what there is.
func Select(l *candidate.Listing, s Selection) (*Range, error) {
	if s.Good == "" || s.Bad == "" {
		return nil, refuse("a good and a bad version are needed: available are %s", versions(l.Packages))
	}
	if err := oneArch(l.Packages); err != nil {
		return nil, err
	}
	r := &Range{Notes: slices.Clone(l.Notes)}
	all, err := r.ofFlavour(l, s.Flavour)
	if err != nil {
		return nil, err
	}
	all = r.withoutRebuilds(all, s)
	good, err := r.find(all, l.Pattern, "good", s.Good)
	if err != nil {
		return nil, err
	}
	bad, err := r.find(all, l.Pattern, "bad", s.Bad)
	if err != nil {
		return nil, err
	}
	switch {
	case good == bad:
		return nil, refuse("good %q and bad %q are the same kernel, %s", s.Good, s.Bad, label(all[bad]))
	case good > bad:
		return nil, refuse("the good version %s is newer than the bad version %s: are they swapped?", label(all[good]), label(all[bad]))
	}
	r.Good, r.Candidates = all[good], slices.Clone(all[good+1:bad+1])
	r.noteSeries()
	r.noteLacks()
	return r, nil
}

func oneArch(all []candidate.PackageVersion) error {
	seen := map[arch.Arch]bool{}
	for _, p := range all {
		seen[p.Arch] = true
	}
	if len(seen) > 1 {
		return refuse("the pattern matches several architectures: choose one")
	}
	return nil
}

// ofFlavour keeps the kernels of one flavour: their configurations differ, so
// one flavour's verdict says little of another's.
func (r *Range) ofFlavour(l *candidate.Listing, want string) ([]candidate.PackageVersion, error) {
	flavours := l.Flavours()
	switch {
	case want != "" && !slices.Contains(flavours, want):
		return nil, refuse("no kernel of flavour %q: available are %s", want, names(flavours))
	case want == "" && len(flavours) == 1:
		want = flavours[0]
	case want == "":
		if want = patternFlavour(l.Pattern); want == "" || !slices.Contains(flavours, want) {
			return nil, refuse("the pattern matches several flavours, which differ in configuration: choose one of %s", names(flavours))
		}
		r.note("only kernels of flavour %s are searched, not %s", want, names(slices.DeleteFunc(flavours, func(f string) bool { return f == want })))
	}
	return slices.DeleteFunc(slices.Clone(l.Packages), func(p candidate.PackageVersion) bool { return p.Flavour != want }), nil
}

// patternFlavour is what a pattern of package names ends in, behind its last
// wildcard; "" where that is no flavour.
func patternFlavour(pattern string) string {
	name, _, _ := strings.Cut(pattern, "@")
	i := strings.LastIndexAny(name, "*?]")
	if !strings.HasPrefix(name, "deb:") || i < 0 {
		return ""
	}
	return strings.TrimPrefix(name[i+1:], "-")
}

func names(flavours []string) string {
	out := make([]string, len(flavours))
	for i, f := range flavours {
		if out[i] = f; f == "" {
			out[i] = `"" (no flavour in the release)`
		}
	}
	return strings.Join(out, ", ")
}

// rebuildRE is what Debian appends to the version of a package that it builds
// for an older release: the source is the same.
var rebuildRE = regexp.MustCompile(`~(bpo|deb)\d+[+u]\d+$`)

// withoutRebuilds keeps one of the kernels that were built from one source: the
// one that was asked for, else the one that has all its parts, else the first
// build. all is in order and stays so.
func (r *Range) withoutRebuilds(all []candidate.PackageVersion, s Selection) []candidate.PackageVersion {
	rank := func(p candidate.PackageVersion) (n int) {
		if exact(p, s.Good) || exact(p, s.Bad) {
			n += 4
		}
		if len(p.Lacks) == 0 {
			n += 2
		}
		if !rebuildRE.MatchString(p.Version) {
			n++
		}
		return n
	}
	best := map[string]int{}
	for i, p := range all {
		source := source(p)
		if j, ok := best[source]; !ok || rank(p) > rank(all[j]) {
			best[source] = i
		}
	}
	var kept []candidate.PackageVersion
	for i, p := range all {
		if best[source(p)] == i || exact(p, s.Good) || exact(p, s.Bad) {
			kept = append(kept, p)
		}
	}
	if n := len(all) - len(kept); n > 0 {
		r.note("left out %d rebuilds of the same source for another Debian release", n)
	}
	return kept
}

// source tells kernels of one flavour apart by what they were built from. A
// file may be anything, so only packages of the archive are compared.
func source(p candidate.PackageVersion) string {
	if p.Suite == "" {
		return p.Arg
	}
	return rebuildRE.ReplaceAllString(p.Version, "")
}

// exact says whether a selector is one kernel's whole name, in any form.
func exact(p candidate.PackageVersion, selector string) bool {
	return selector != "" && slices.Contains([]string{
		p.Version, p.Release, p.Package, p.Package + "=" + p.Version, p.Arg, path.Base(p.Arg),
	}, selector)
}

// find returns the kernel that a selector fits: by its whole name, else by the
// whole kernel version, else by the beginning of a version.
func (r *Range) find(all []candidate.PackageVersion, pattern, end, selector string) (int, error) {
	plain := selector
	if len(plain) > 1 && plain[0] == 'v' && plain[1] >= '0' && plain[1] <= '9' {
		plain = plain[1:]
	}
	upstream, isUpstream := candidate.ParseUpstream(plain)
	whole := isUpstream && wholeRE.MatchString(plain)
	for _, fits := range []func(candidate.PackageVersion) bool{
		func(p candidate.PackageVersion) bool { return exact(p, selector) },
		func(p candidate.PackageVersion) bool { return whole && p.Upstream == upstream },
		func(p candidate.PackageVersion) bool {
			return begins(p.Upstream.String(), plain) || begins(p.Version, plain)
		},
	} {
		var found []int
		for i, p := range all {
			if fits(p) {
				found = append(found, i)
			}
		}
		switch {
		case len(found) == 1:
			return found[0], nil
		case len(found) > 1:
			return r.outermost(all, found, end, selector)
		}
	}
	elsewhere := ""
	if strings.HasPrefix(pattern, "deb:") && strings.Contains(pattern, "@") {
		elsewhere = "; other suites may have it: add them after the @, or name none to search all"
	}
	return 0, &SelectionError{fmt.Sprintf("the %s version %q matches no kernel: available are %s%s", end, selector, versions(all), elsewhere), true}
}

// outermost takes the one of several kernels that makes the range the widest.
func (r *Range) outermost(all []candidate.PackageVersion, found []int, end, selector string) (int, error) {
	var fit []candidate.PackageVersion
	for _, i := range found {
		fit = append(fit, all[i])
	}
	if slices.ContainsFunc(fit, func(p candidate.PackageVersion) bool { return p.Suite == "" }) {
		return 0, refuse("the %s version %q matches %d kernels: choose one of %s", end, selector, len(fit), versions(fit))
	}
	at, which := found[0], "oldest"
	if end == "bad" {
		at, which = found[len(found)-1], "newest"
	}
	r.note("the %s version %q matches %d kernels: using the %s, %s", end, selector, len(fit), which, label(all[at]))
	return at, nil
}

var wholeRE = regexp.MustCompile(`^[0-9.]+([~-]rc[0-9]+)?$`)

// begins says whether version starts with prefix and goes on with another part:
// 6.1 begins 6.1.176, not 6.12.
func begins(version, prefix string) bool {
	rest, ok := strings.CutPrefix(version, prefix)
	return ok && prefix != "" && (rest == "" || !isAlnum(rest[0]))
}

func isAlnum(c byte) bool { return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' }

// versions lists kernels by the packages' versions, or many of them by series.
func versions(all []candidate.PackageVersion) string {
	const many = 24
	var out []string
	for i := 0; i < len(all); {
		series := all[i].Upstream.Series()
		j := i + 1
		for j < len(all) && all[j].Upstream.Series() == series {
			j++
		}
		if len(all) > many && j-i > 2 {
			out = append(out, fmt.Sprintf("%s to %s (%d)", label(all[i]), label(all[j-1]), j-i))
		} else {
			for _, p := range all[i:j] {
				out = append(out, label(p))
			}
		}
		i = j
	}
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(slices.Compact(out), ", ")
}

// label is how a person names a kernel: a file by its name, as several may hold
// the same version.
func label(p candidate.PackageVersion) string {
	if p.Suite == "" && p.Arg != "" {
		return path.Base(p.Arg)
	}
	return p.Version
}

func (r *Range) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

func (r *Range) noteSeries() {
	series := []string{r.Good.Upstream.Series()}
	for _, p := range r.Candidates {
		series = append(series, p.Upstream.Series())
	}
	if series = slices.Compact(series); len(series) > 1 {
		r.note("the kernels are ordered by version across %d stable series, %s to %s, which are branches: a fault that was backported, or fixed in one series only, breaks that order",
			len(series), series[0], series[len(series)-1])
	}
}

func (r *Range) noteLacks() {
	bare := 0
	for _, p := range r.Candidates {
		if len(p.Lacks) > 0 {
			bare++
		}
	}
	if bare > 0 {
		r.note("%d of the %d kernels lack modules or configuration: a scenario that loads modules cannot test them", bare, len(r.Candidates))
	}
}
