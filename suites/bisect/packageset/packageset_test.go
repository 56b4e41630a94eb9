package packageset

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/images/kernel"
	"github.com/unwedge/unwedge/scenarios/arch"
)

func versions(t *testing.T, list ...string) (out []candidate.PackageVersion) {
	t.Helper()
	for _, v := range list {
		u, ok := candidate.ParseUpstream(v)
		if !ok {
			t.Fatalf("no version in %q", v)
		}
		out = append(out, candidate.PackageVersion{Version: v, Upstream: u, Arg: "deb:" + v})
	}
	return out
}

func TestNewestOfSeries(t *testing.T) {
	all := versions(t, "5.10.262-1", "6.1.174-1", "6.1.176-1~deb11u1", "6.1.176-1", "6.12.9-1", "6.12.10-1", "6.12.11-1", "7.3.4-1")
	for per, want := range map[int]string{
		1: "5.10.262-1 6.1.176-1 6.12.11-1 7.3.4-1",
		2: "5.10.262-1 6.1.174-1 6.1.176-1 6.12.10-1 6.12.11-1 7.3.4-1",
	} {
		var got []string
		for _, p := range NewestOfSeries(all, per) {
			got = append(got, p.Version)
		}
		if d := cmp.Diff(want, strings.Join(got, " ")); d != "" {
			t.Errorf("%d of each: %s", per, d)
		}
	}
}

func TestMakeErrors(t *testing.T) {
	gone := errors.New("the mirror is gone")
	none := func(context.Context, string) (*candidate.Candidate, error) { return nil, gone }
	all := versions(t, "6.1-1", "6.12-1", "7.3-1")
	for firstBad, want := range map[string]string{"x": "not a kernel version", "6.1": "some must be older", "7.4": "some must be older", "6.12": gone.Error()} {
		set, err := build(t.Context(), t.TempDir(), all, firstBad, Options{}, none)
		if err == nil || set != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", firstBad, err, want)
		}
	}
}

// Good kernels are the cache's own files.
func TestGoodKernelsAreStock(t *testing.T) {
	dir, out := t.TempDir(), t.TempDir()
	stock := filepath.Join(dir, "vmlinux")
	if err := os.WriteFile(stock, []byte("kernel"), 0o644); err != nil {
		t.Fatal(err)
	}
	all := versions(t, "6.1-1", "6.12-1")
	set, err := build(t.Context(), out, all, "6.12", Options{}, func(_ context.Context, arg string) (*candidate.Candidate, error) {
		release := strings.TrimPrefix(arg, "deb:")
		return &candidate.Candidate{Kernel: &kernel.Kernel{Path: stock, Release: release, Arch: arch.X86_64}, ModulesDir: dir}, nil
	})
	if err == nil || set != nil || !strings.Contains(err.Error(), "6.12-1") {
		t.Errorf("a file that is no kernel was changed: %v, %v", set, err)
	}
	a, err := os.Stat(filepath.Join(out, "vmlinux-6.1-1"))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.Stat(stock); err != nil || !os.SameFile(a, b) {
		t.Errorf("the good kernel is a copy: %v", err)
	}
	if to, err := os.Readlink(filepath.Join(out, "vmlinux-6.1-1"+candidate.ModulesSuffix)); err != nil || to != dir {
		t.Errorf("modules at %q, %v", to, err)
	}
}

func TestKernelsThatAreGone(t *testing.T) {
	all := versions(t, "6.1-1", "6.12-1")
	gone := func(_ context.Context, arg string) (*candidate.Candidate, error) {
		return nil, &candidate.NotFoundError{Arg: arg, Reason: "no longer there"}
	}
	if set, err := build(t.Context(), t.TempDir(), all, "6.12", Options{}, gone); err == nil || set != nil || !strings.Contains(err.Error(), "too many of the kernels are gone") {
		t.Errorf("set %+v, %v", set, err)
	}
}

// TestRealKernels makes a set of the kernels that UNWEDGE_TEST_PACKAGES names,
// in UNWEDGE_TEST_OUT where that is set.
func TestRealKernels(t *testing.T) {
	pattern := os.Getenv("UNWEDGE_TEST_PACKAGES")
	if pattern == "" {
		t.Skip("UNWEDGE_TEST_PACKAGES names no kernels, such as deb:linux-image-cloud-amd64")
	}
	l, err := candidate.ListPackages(t.Context(), pattern, candidate.Options{})
	if err != nil {
		t.Fatal(err)
	}
	kernels := NewestOfSeries(l.Packages, 1)
	if len(kernels) < 8 {
		t.Fatalf("%d kernels of different series: %v", len(kernels), l.Notes)
	}
	dir := os.Getenv("UNWEDGE_TEST_OUT")
	if dir == "" {
		dir = t.TempDir()
	}
	firstBad := kernels[len(kernels)*2/3].Upstream.String()
	set, err := Make(t.Context(), dir, kernels, firstBad, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(set.Kernels) < 8 {
		t.Fatalf("%d kernels: %q", len(set.Kernels), set.Gone)
	}
	again, err := candidate.ListPackages(t.Context(), set.Pattern(), candidate.Options{})
	if err != nil || len(again.Packages) != len(set.Kernels) || len(again.Notes) > 0 {
		t.Fatalf("the set lists as %+v, %v", again, err)
	}
	for i, k := range set.Kernels {
		p := again.Packages[i]
		if p.Version != k.Version || p.Release != k.Release || p.Arg != k.Path {
			t.Errorf("listed as %+v, made as %+v", p, k)
		}
		truth := k.Path + ".truth.json"
		if _, err := os.Stat(truth); (err == nil) != k.Bad {
			t.Errorf("%s: bad %v, %v", k.Path, k.Bad, err)
		}
	}
	t.Logf("%d kernels in %s, first bad %s, gone %q", len(set.Kernels), dir, set.FirstBad().Path, set.Gone)
}
