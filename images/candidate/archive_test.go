package candidate

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/unwedge/unwedge/images/internal/mirror"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// fakeApt puts programs in PATH that serve an archive from a directory, and
// log how they were called.
type fakeApt struct {
	t    *testing.T
	dir  string
	opts Options
}

func newFakeApt(t *testing.T) *fakeApt {
	f := &fakeApt{t: t, dir: t.TempDir()}
	for name, script := range map[string]string{
		"apt-config": "",
		"apt-get": `echo "apt-get $*" >> "$FAKE/log"
case "$*" in
*--print-uris*) for p in "$FAKE"/*.pkg; do echo "'http://x/${p##*/}' $(basename "$p" .pkg)_1_all.deb $(wc -c <"$p") SHA256:0"; done ;;
*--download-only*) to=$(expr "$*" : '.*archives=\([^ ]*\)'); test ! -e "$FAKE/gone" || exit 100
	for p in "$FAKE"/*.pkg; do cp "$p" "$to/$(basename "$p" .pkg)_1_all.deb"; done ;;
*update*) test ! -e "$FAKE/offline" || { echo "E: the mirror is gone" >&2; exit 100; } ;;
*download*) test ! -e "$FAKE/gone" || { echo "E: Failed to fetch http://x/y.deb  404  Not Found [IP: 192.0.2.1 80]" >&2; exit 100; }
	for p; do case $p in *=*) cp "$FAKE/${p%%=*}.pkg" "./${p%%=*}.deb" || exit 100;; esac; done ;;
esac`,
		"apt-cache": `case $1 in
show) cat "$FAKE/$2.show" 2>/dev/null || { echo "E: No packages found" >&2; exit 100; } ;;
pkgnames) cd "$FAKE" && for p in *.show; do echo "${p%.show}"; done ;;
esac`,
	} {
		path := write(t, filepath.Join(f.dir, "bin", name), []byte("#!/bin/sh\n"+script+"\n"))
		check(t, os.Chmod(path, 0o755))
	}
	t.Setenv("FAKE", f.dir)
	t.Setenv("PATH", filepath.Join(f.dir, "bin")+":"+os.Getenv("PATH"))
	t.Setenv(mirror.Env, "")
	f.opts = Options{Cache: store(t), Mirror: "http://mirror.example/debian", keyring: write(t, filepath.Join(f.dir, "keys"), nil)}
	return f
}

func (f *fakeApt) add(name, version, depends string, content ...entry) {
	b := deb(f.t, "gzip", content...)
	write(f.t, filepath.Join(f.dir, name+".pkg"), b)
	write(f.t, filepath.Join(f.dir, name+".show"), fmt.Appendf(nil,
		"Package: %s\nVersion: %s\nDepends: %s\nSHA256: %x\nSize: %d\n\n", name, version, depends, sha256.Sum256(b), len(b)))
}

// calls returns how often apt-get ran since the last time.
func (f *fakeApt) calls() int {
	b, _ := os.ReadFile(filepath.Join(f.dir, "log"))
	_ = os.Remove(filepath.Join(f.dir, "log"))
	return strings.Count(string(b), "\n")
}

func TestResolveArchive(t *testing.T) {
	f := newFakeApt(t)
	f.add("linux-image-amd64", "6.1-1", "linux-image-6.1.0-50-amd64 (= 6.1-1)")
	f.add("linux-image-6.1.0-50-amd64", "6.1-1", "kmod", debian6(t)...)
	c, err := Resolve(t.Context(), "deb:linux-image-amd64", f.opts)
	check(t, err)
	if c.Origin != "deb:linux-image-6.1.0-50-amd64=6.1-1@bookworm" || c.Kernel.Release != release || c.ModulesDir == "" {
		t.Errorf("candidate %+v", c)
	}
	if n := f.calls(); n != 2 {
		t.Errorf("apt-get ran %d times, want update and download", n)
	}
	check(t, os.WriteFile(filepath.Join(f.dir, "offline"), nil, 0o600))
	for _, arg := range []string{"deb:linux-image-amd64", "deb:linux-image-6.1.0-50-amd64=6.1-1@bookworm"} {
		if again, err := Resolve(t.Context(), arg, f.opts); err != nil || again.Kernel.Path != c.Kernel.Path {
			t.Errorf("%s again: %+v, %v", arg, again, err)
		}
	}
	if n := f.calls(); n != 0 {
		t.Errorf("apt-get ran %d times for what is in the cache", n)
	}

	// Two days later, still offline: the exact version needs nothing, the
	// metapackage makes do with the old lists, a forced refresh fails.
	stamps, err := filepath.Glob(filepath.Join(f.opts.Cache.Dir(), "apt/*/updated"))
	if err != nil || len(stamps) != 1 {
		t.Fatalf("stamps %v, %v", stamps, err)
	}
	old := time.Now().Add(-48 * time.Hour)
	check(t, os.Chtimes(stamps[0], old, old))
	_, err = Resolve(t.Context(), "deb:linux-image-6.1.0-50-amd64=6.1-1", f.opts)
	if check(t, err); f.calls() != 0 {
		t.Error("an exact version that is in the cache ran apt-get")
	}
	_, err = Resolve(t.Context(), "deb:linux-image-amd64", f.opts)
	if check(t, err); f.calls() != 1 {
		t.Error("old lists were not refreshed")
	}
	f.opts.Refresh = true
	if _, err = Resolve(t.Context(), "deb:linux-image-amd64", f.opts); err == nil || !strings.Contains(err.Error(), "the mirror is gone") {
		t.Errorf("error %v", err)
	}
}

func TestResolveArchiveSplitPackages(t *testing.T) {
	f := newFakeApt(t)
	all := fedora(t)
	const v = " (= 7.3-1)"
	f.add("linux-image-cloud-amd64", "7.3-1", "linux-image-7.3.4-cloud-amd64"+v+", linux-modules-cloud-amd64"+v)
	f.add("linux-modules-cloud-amd64", "7.3-1", "linux-modules-7.3.4-cloud-amd64"+v)
	f.add("linux-image-7.3.4-cloud-amd64", "7.3-1", "linux-base-7.3.4-cloud-amd64"+v+", linux-binary-7.3.4-cloud-amd64"+v+", linux-modules-7.3.4-cloud-amd64"+v)
	f.add("linux-binary-7.3.4-cloud-amd64", "7.3-1", "", all[0])
	f.add("linux-base-7.3.4-cloud-amd64", "7.3-1", "", all[2], all[3])
	f.add("linux-modules-7.3.4-cloud-amd64", "7.3-1", "", all[4])
	c, err := Resolve(t.Context(), "deb:linux-image-cloud-amd64@trixie-backports", f.opts)
	check(t, err)
	if c.Origin != "deb:linux-image-7.3.4-cloud-amd64=7.3-1@trixie-backports" || c.ModulesDir == "" || c.ConfigPath == "" || c.SystemMap == "" {
		t.Errorf("candidate %+v", c)
	}
}

// The archive drops the modules of superseded kernels before the kernels.
func TestResolveArchiveWithoutModules(t *testing.T) {
	f := newFakeApt(t)
	const v = " (= 7.1-1)"
	f.add("linux-image-7.1.7-amd64", "7.1-1", "linux-base-7.1.7-amd64"+v+", linux-binary-7.1.7-amd64"+v+", linux-modules-7.1.7-amd64"+v)
	f.add("linux-binary-7.1.7-amd64", "7.1-1", "linux-base-7.1.7-amd64"+v, fedora(t)[0])
	for range 2 {
		c, err := Resolve(t.Context(), "deb:linux-image-7.1.7-amd64=7.1-1", f.opts)
		check(t, err)
		if want := []string{"linux-base-7.1.7-amd64", "linux-modules-7.1.7-amd64"}; !slices.Equal(c.Lacks, want) || c.ModulesDir != "" || c.Kernel.Release != release {
			t.Errorf("candidate %+v, want it to lack %v", c, want)
		}
	}
}

func TestResolveArchiveGlob(t *testing.T) {
	f := newFakeApt(t)
	for _, p := range []string{"linux-image-6.12.9-amd64 6.12.9-1", "linux-image-6.12.43-amd64 6.12.43-1", "linux-image-6.12.43-rt-amd64 6.12.43-1", "linux-image-6.12.43-amd64-dbg 6.12.43-1", "linux-image-amd64 6.12.43-1"} {
		name, version, _ := strings.Cut(p, " ")
		f.add(name, version, "", debian6(t)...)
	}
	c, err := Resolve(t.Context(), "deb:linux-image-6.12*-amd64", f.opts)
	check(t, err)
	if c.Origin != "deb:linux-image-6.12.43-amd64=6.12.43-1@bookworm" {
		t.Errorf("origin %s", c.Origin)
	}
}

// What the lists have and the pool has not is no fault of the network.
func TestResolveArchiveGone(t *testing.T) {
	f := newFakeApt(t)
	f.add("linux-image-6.1.0-50-amd64", "6.1-1", "", debian6(t)...)
	write(t, filepath.Join(f.dir, "gone"), nil)
	_, err := Resolve(t.Context(), "deb:linux-image-6.1.0-50-amd64", f.opts)
	if !errors.As(err, new(*NotFoundError)) || !strings.Contains(err.Error(), "the mirror no longer has it") {
		t.Errorf("error %v", err)
	}
}

func TestResolveArchiveErrors(t *testing.T) {
	f := newFakeApt(t)
	f.add("linux-image-6.1.0-50-amd64", "6.1-1", "", debian6(t)...)
	f.add("linux-image-7.0.0-amd64", "7.0-1", "linux-binary-7.0.0-amd64 (= 7.0-1)")
	for arg, want := range map[string]string{
		"deb:":                               "not a package name",
		"deb:-o":                             "not a package name",
		"deb:linux image":                    "not a package name",
		"deb:linux-image-amd64@../x":         "not a suite",
		"deb:linux-image-amd64=$(x)":         "not a version",
		"deb:linux":                          "does not show its architecture",
		"deb:linux-image-nope-amd64":         "no such package in bookworm for amd64",
		"deb:linux-image-9*-amd64":           "matches",
		"deb:linux-image-6.1.0-50-amd64=9-9": "has version 6.1-1 only",
		"deb:linux-image-7.0.0-amd64":        "linux-image-7.0.0-amd64 needs it",
	} {
		c, err := Resolve(t.Context(), arg, f.opts)
		if err == nil || c != nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want %q", arg, err, want)
		}
	}
	f.opts.Arch = arch.AArch64
	if _, err := Resolve(t.Context(), "deb:linux-image-6.1.0-50-amd64", f.opts); err == nil || !strings.Contains(err.Error(), "a package for x86_64") {
		t.Errorf("error %v", err)
	}
	f.opts.Arch, f.opts.keyring = "", filepath.Join(f.dir, "none")
	if _, err := Resolve(t.Context(), "deb:linux-image-amd64@sid", f.opts); err == nil || !strings.Contains(err.Error(), "install the package debian-archive-keyring") {
		t.Errorf("error %v", err)
	}
}
