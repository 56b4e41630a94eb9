package packages

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// listing makes kernels of "VERSION FLAVOUR SUITE" lines, which are in order. A
// "-" behind them is a kernel without its modules.
func listing(t *testing.T, lines ...string) *candidate.Listing {
	t.Helper()
	l := &candidate.Listing{Pattern: "deb:linux-image-*-amd64@trixie-backports", Notes: []string{"sid is left out"}}
	for _, line := range lines {
		f := strings.Fields(line)
		u, ok := candidate.ParseUpstream(f[0])
		if !ok {
			t.Fatalf("no version in %q", line)
		}
		p := candidate.PackageVersion{Version: f[0], Upstream: u, Release: u.String() + "+deb13-" + f[1], Flavour: f[1], Suite: f[2], Arch: arch.X86_64}
		p.Package = "linux-image-" + p.Release
		p.Arg = fmt.Sprintf("deb:%s=%s@%s", p.Package, p.Version, p.Suite)
		if len(f) > 3 {
			p.Lacks = []string{"linux-modules-" + p.Release}
		}
		l.Packages = append(l.Packages, p)
	}
	return l
}

func released(t *testing.T) *candidate.Listing {
	return listing(t,
		"6.1.172-1~deb11u1 amd64 bullseye-security", "6.1.172-1 amd64 bookworm", "6.1.172-1 cloud-amd64 bookworm",
		"6.12.9-1 amd64 trixie", "6.12.9-2 amd64 trixie", "6.12.90-1~bpo12+1 amd64 bookworm-backports", "6.12.90-1 amd64 trixie -",
		"6.16.3-1~bpo13+1 amd64 trixie-backports", "6.19.6-2~bpo13+1 amd64 trixie-backports -",
		"7.3~rc2-1~exp1 amd64 sid", "7.3.4-1~bpo13+1 amd64 trixie-backports", "7.3.4-1~bpo13+1 rt-amd64 trixie-backports",
	)
}

func TestSelect(t *testing.T) {
	r, err := Select(released(t), Selection{Good: "v6.1", Bad: "7.3.4"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range r.Candidates {
		got = append(got, p.Version)
	}
	// Of 6.12.90's two builds the one that is whole is taken.
	if d := cmp.Diff([]string{"6.12.9-1", "6.12.9-2", "6.12.90-1~bpo12+1", "6.16.3-1~bpo13+1", "6.19.6-2~bpo13+1", "7.3~rc2-1~exp1", "7.3.4-1~bpo13+1"}, got); d != "" {
		t.Error(d)
	}
	if r.Good.Version != "6.1.172-1" || r.Bad().Arg != "deb:linux-image-7.3.4+deb13-amd64=7.3.4-1~bpo13+1@trixie-backports" {
		t.Errorf("good %s, bad %s", r.Good.Arg, r.Bad().Arg)
	}
	if d := cmp.Diff([]string{
		"sid is left out",
		"only kernels of flavour amd64 are searched, not cloud-amd64, rt-amd64",
		"left out 2 rebuilds of the same source for another Debian release",
		"the kernels are ordered by version across 5 stable series, 6.1 to 7.3, which are branches: a fault that was backported, or fixed in one series only, breaks that order",
		"1 of the 7 kernels lack modules or configuration: a scenario that loads modules cannot test them",
	}, r.Notes); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([][]int{nil, {0}, {1}, {2}, {3}, {4}, {5}}, r.Parents()); d != "" {
		t.Error(d)
	}
}

func TestSelectors(t *testing.T) {
	for selector, want := range map[string]string{
		"6.12.9-2":                       "6.12.9-2",
		"6.12.90":                        "6.12.90-1~bpo12+1", // not 6.12.9, and the rebuild counts once
		"6.12.90-1":                      "6.12.90-1",         // named in full, so it is taken though it lacks modules
		"6.16":                           "6.16.3-1~bpo13+1",
		"v6.16.3":                        "6.16.3-1~bpo13+1",
		"6.16.3-1":                       "6.16.3-1~bpo13+1",
		"6.16.3+deb13-amd64":             "6.16.3-1~bpo13+1",
		"linux-image-6.16.3+deb13-amd64": "6.16.3-1~bpo13+1",
		"deb:linux-image-6.16.3+deb13-amd64=6.16.3-1~bpo13+1@trixie-backports": "6.16.3-1~bpo13+1",
		"7.3-rc2":  "7.3~rc2-1~exp1",
		"7.3~rc2":  "7.3~rc2-1~exp1",
		"v7.3-rc2": "7.3~rc2-1~exp1",
	} {
		r, err := Select(released(t), Selection{Good: selector, Bad: "7.3.4"})
		if err != nil || r.Good.Version != want {
			t.Errorf("good %s is %+v, %v, want %s", selector, r, err, want)
		}
	}
}

// A series names its outermost kernel: the range then holds every other choice.
func TestSeriesAsEnds(t *testing.T) {
	r, err := Select(released(t), Selection{Good: "6.12", Bad: "7.3"})
	if err != nil || r.Good.Version != "6.12.9-1" || r.Bad().Version != "7.3.4-1~bpo13+1" {
		t.Fatalf("range %+v, %v", r, err)
	}
	for _, want := range []string{
		`the good version "6.12" matches 3 kernels: using the oldest, 6.12.9-1`,
		`the bad version "7.3" matches 2 kernels: using the newest, 7.3.4-1~bpo13+1`,
	} {
		if !slices.Contains(r.Notes, want) {
			t.Errorf("notes %q, want %q", r.Notes, want)
		}
	}
	if r, err = Select(released(t), Selection{Good: "6.12.9", Bad: "6.12"}); err != nil || r.Good.Version != "6.12.9-1" || len(r.Candidates) != 2 {
		t.Errorf("within a series: %+v, %v", r, err)
	}
}

func TestOneSeriesNeedsNoWarning(t *testing.T) {
	r, err := Select(released(t), Selection{Good: "6.12.9-1", Bad: "6.12.9-2", Flavour: "amd64"})
	if err != nil || len(r.Candidates) != 1 {
		t.Fatalf("range %+v, %v", r, err)
	}
	for _, n := range r.Notes {
		if strings.Contains(n, "series") || strings.Contains(n, "flavour") {
			t.Errorf("note %q", n)
		}
	}
}

func TestSelectionErrors(t *testing.T) {
	for name, tc := range map[string]struct {
		Selection
		want string
	}{
		"unknown":   {Selection{Good: "6.13", Bad: "7.3.4"}, `the good version "6.13" matches no kernel: available are 6.1.172-1, 6.12.9-1, 6.12.9-2, `},
		"no prefix": {Selection{Good: "6.1.17", Bad: "7.3.4"}, "matches no kernel"},
		"suites":    {Selection{Good: "6.13", Bad: "7.3.4"}, "other suites may have it: add them after the @, or name none"},
		"swapped":   {Selection{Good: "7.3.4", Bad: "6.1"}, "the good version 7.3.4-1~bpo13+1 is newer than the bad version 6.1.172-1: are they swapped?"},
		"same":      {Selection{Good: "7.3.4", Bad: "7.3.4"}, "are the same kernel"},
		"no good":   {Selection{Bad: "7.3.4"}, "a good and a bad version are needed"},
		"flavour":   {Selection{Good: "6.1", Bad: "7.3.4", Flavour: "arm64"}, `no kernel of flavour "arm64": available are amd64, cloud-amd64, rt-amd64`},
		"not there": {Selection{Good: "6.1", Bad: "7.3.4", Flavour: "rt-amd64"}, `the good version "6.1" matches no kernel: available are 7.3.4-1~bpo13+1`},
	} {
		r, err := Select(released(t), tc.Selection)
		if r != nil || !errors.As(err, new(*SelectionError)) || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}

	l := released(t)
	l.Pattern = "deb:linux-image-*"
	if _, err := Select(l, Selection{Good: "6.1", Bad: "7.3.4"}); err == nil || !strings.Contains(err.Error(), "choose one of amd64, cloud-amd64, rt-amd64") {
		t.Errorf("several flavours: %v", err)
	}
	l.Packages[0].Arch = arch.AArch64
	if _, err := Select(l, Selection{Good: "6.1", Bad: "7.3.4"}); err == nil || !strings.Contains(err.Error(), "several architectures") {
		t.Errorf("several architectures: %v", err)
	}
}

func TestManyKernelsAreListedBySeries(t *testing.T) {
	var lines []string
	for i := 1; i <= 30; i++ {
		lines = append(lines, fmt.Sprintf("6.12.%d-1 amd64 trixie", i))
	}
	_, err := Select(listing(t, append(lines, "7.3.4-1 amd64 sid")...), Selection{Good: "6.13", Bad: "7.3.4"})
	if err == nil || !strings.Contains(err.Error(), "available are 6.12.1-1 to 6.12.30-1 (30), 7.3.4-1") {
		t.Errorf("error %v", err)
	}
}

// Kept files of one version, such as a kernel and its mutant, stay apart.
func TestFiles(t *testing.T) {
	l := listing(t, "6.1.176-1 amd64 x", "6.1.176-1 amd64 x", "6.12.9-1 amd64 x")
	l.Pattern = "dir:/kernels"
	for i, name := range []string{"stock", "changed", "newer"} {
		l.Packages[i].Suite, l.Packages[i].Arg, l.Packages[i].Package = "", "/kernels/"+name, name
	}
	r, err := Select(l, Selection{Good: "stock", Bad: "newer"})
	if err != nil || len(r.Candidates) != 2 || r.Candidates[0].Package != "changed" {
		t.Fatalf("range %+v, %v", r, err)
	}
	if _, err := Select(l, Selection{Good: "6.1.176", Bad: "newer"}); err == nil || !strings.Contains(err.Error(), "choose one of stock, changed") {
		t.Errorf("error %v", err)
	}
}

// An end that is not listed may be elsewhere; any other mistake is the same everywhere.
func TestAnEndThatIsNotThere(t *testing.T) {
	for s, want := range map[Selection]bool{
		{Good: "5.4", Bad: "7.3.4"}:                    true,
		{Good: "6.1", Bad: "8.0"}:                      true,
		{Good: "7.3.4", Bad: "6.1"}:                    false,
		{Good: "6.1", Bad: "7.3.4", Flavour: "nosuch"}: false,
	} {
		_, err := Select(released(t), s)
		var refused *SelectionError
		if !errors.As(err, &refused) || refused.NotThere != want {
			t.Errorf("%+v: %v, not there: %v", s, err, !want)
		}
	}
}
