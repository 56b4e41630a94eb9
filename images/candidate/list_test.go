package candidate

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/unwedge/unwedge/images/kernel/kerneltest"
	"github.com/unwedge/unwedge/scenarios/arch"
)

func TestUpstreamOrder(t *testing.T) {
	// Each is newer than the one before it; compared as kernel versions, not
	// as packages.
	ordered := []string{
		"5.10.262-1", "6.1.176-1", "6.9-1", "6.12~rc3-1~exp1", "6.12.0-rc4-00012-gdeadbeef", "6.12-1", "6.12.9-1", "6.12.43+deb13-cloud-amd64",
		"6.12.44-rc1", "6.12.44", "7.3.4-1~bpo13+1", "7.4~rc1-1", "7.4.0-rc2-next-20261101", "7.4.0-0.rc3.20261108git0123456789ab.24.fc45", "7.4.0-0.rc10.64.fc45", "7.4",
	}
	want := []string{"5.10.262", "6.1.176", "6.9", "6.12-rc3", "6.12-rc4", "6.12", "6.12.9", "6.12.43", "6.12.44-rc1", "6.12.44", "7.3.4", "7.4-rc1", "7.4-rc2", "7.4-rc3", "7.4-rc10", "7.4"}
	var last Upstream
	for i, s := range ordered {
		u, ok := ParseUpstream(s)
		if !ok || u.String() != want[i] {
			t.Errorf("%s is %v, %v, want %s", s, u, ok, want[i])
		}
		if i > 0 && u.Compare(last) <= 0 {
			t.Errorf("%s is not newer than %s", u, last)
		}
		last = u
	}
	for _, s := range []string{"", "6", "linux", "6.x", "v6.1", "6.1rc", "99999.1", "6.1.99999999"} {
		if u, ok := ParseUpstream(s); ok {
			t.Errorf("%q is read as %s", s, u)
		}
	}
}

func TestFlavourOf(t *testing.T) {
	for release, want := range map[string]string{
		"6.1.0-50-amd64": "amd64", "6.1.0-50-cloud-amd64": "cloud-amd64", "7.3.4+deb13-rt-amd64": "rt-amd64",
		"6.12.43+deb13-arm64-16k": "arm64-16k", "6.1.0-0.deb11.21-amd64": "amd64", "6.16-rc5-amd64": "amd64",
		"6.8.0-45-generic": "generic", "6.12.0": "", "6.12.0-rc3-00012-g0123abcd": "", "6.12.0-rc3-g0123abcd-dirty": "",
		"6.12.5-200.fc41.x86_64": "",
	} {
		if got := flavourOf(release); got != want {
			t.Errorf("%s has flavour %q, want %q", release, got, want)
		}
	}
}

// suites adds a suite to the fake archive; programs know it by apt.conf's path.
func (f *fakeApt) release(suite, name, version, depends string) {
	dir := filepath.Join(f.dir, "suites", suite)
	old, _ := os.ReadFile(filepath.Join(dir, name))
	write(f.t, filepath.Join(dir, name), fmt.Appendf(old, "Package: %s\nVersion: %s\nDepends: %s\nSHA256: 00\nSize: 100\n\n", name, version, depends))
}

// newFakeArchive is a fakeApt with several suites.
func newFakeArchive(t *testing.T) *fakeApt {
	f := newFakeApt(t)
	for name, script := range map[string]string{
		"apt-get": `suite=$(basename "$(dirname "$APT_CONFIG")"); suite=${suite%-amd64-*}
echo "apt-get $suite" >> "$FAKE/log"
test ! -e "$FAKE/offline-$suite" || { echo "E: Failed to fetch x/$suite  Could not resolve 'mirror.example'" >&2; exit 100; }
test -d "$FAKE/suites/$suite" || { echo "E: The repository 'x $suite Release' does not have a Release file." >&2; exit 100; }`,
		"apt-cache": `suite=$(basename "$(dirname "$APT_CONFIG")"); cd "$FAKE/suites/${suite%-amd64-*}" || exit 100
case $1 in
pkgnames) ls ;;
show) shift; for p; do cat "$p" 2>/dev/null && found=1; done; test "$found" || { echo "E: No packages found" >&2; exit 100; } ;;
esac`,
	} {
		check(t, os.Remove(filepath.Join(f.dir, "bin", name)))
		check(t, os.Chmod(write(t, filepath.Join(f.dir, "bin", name), []byte("#!/bin/sh\n"+script+"\n")), 0o755))
	}
	f.release("bookworm", "linux-image-6.1.0-50-cloud-amd64", "6.1.176-1", "kmod")
	f.release("bookworm", "linux-image-6.1.0-50-amd64", "6.1.176-1", "kmod")
	f.release("bookworm", "linux-image-6.1.0-50-amd64-dbg", "6.1.176-1", "")
	f.release("bookworm", "linux-image-6.1.0-50-amd64-unsigned", "6.1.176-1", "")
	f.release("bookworm", "linux-image-amd64", "6.1.176-1", "linux-image-6.1.0-50-amd64 (= 6.1.176-1)")
	f.release("trixie", "linux-image-6.12.107+deb13-amd64", "6.12.107-1", "")
	f.release("trixie", "linux-image-6.12.9+deb13-amd64", "6.12.9-1", "")
	f.release("trixie", "linux-image-6.12.9+deb13-amd64", "6.12.9-2", "")
	const v = " (= 7.3.4-1~bpo13+1)"
	f.release("trixie-backports", "linux-image-7.3.4+deb13-amd64", "7.3.4-1~bpo13+1", "linux-binary-7.3.4+deb13-amd64"+v+", linux-modules-7.3.4+deb13-amd64"+v)
	f.release("trixie-backports", "linux-binary-7.3.4+deb13-amd64", "7.3.4-1~bpo13+1", "linux-base-7.3.4+deb13-amd64"+v)
	f.release("trixie-backports", "linux-base-7.3.4+deb13-amd64", "7.3.4-1~bpo13+1", "")
	f.release("trixie-backports", "linux-modules-7.3.4+deb13-amd64", "7.3.4-1~bpo13+1", "")
	f.release("trixie-backports", "linux-image-7.2.6+deb13-amd64", "7.2.6-1~bpo13+1", "linux-binary-7.2.6+deb13-amd64 (= 7.2.6-1~bpo13+1)")
	f.release("trixie-backports", "linux-image-6.18.5+deb13-amd64", "6.18.5-1~bpo13+1", "linux-base-6.18.5+deb13-amd64 (= 6.18.5-1~bpo13+1)")
	f.release("trixie-backports", "linux-image-7.3-amd64", "7.3.4-1~bpo13+1", "linux-image-7.3.4+deb13-amd64"+v)
	f.release("sid", "linux-image-7.4-rc2-amd64", "7.4~rc2-1~exp1", "")
	f.release("sid", "linux-image-6.12.9+deb13-amd64", "6.12.9-2", "")
	return f
}

func args(l *Listing) (out []string) {
	for _, p := range l.Packages {
		out = append(out, p.Arg)
	}
	return out
}

func TestListArchive(t *testing.T) {
	f := newFakeArchive(t)
	l, err := ListPackages(t.Context(), "deb:linux-image-*-amd64@trixie-backports,sid,bookworm,trixie", f.opts)
	check(t, err)
	if d := cmp.Diff([]string{
		"deb:linux-image-6.1.0-50-amd64=6.1.176-1@bookworm", "deb:linux-image-6.1.0-50-cloud-amd64=6.1.176-1@bookworm",
		"deb:linux-image-6.12.9+deb13-amd64=6.12.9-1@trixie", "deb:linux-image-6.12.9+deb13-amd64=6.12.9-2@sid",
		"deb:linux-image-6.12.107+deb13-amd64=6.12.107-1@trixie", "deb:linux-image-6.18.5+deb13-amd64=6.18.5-1~bpo13+1@trixie-backports",
		"deb:linux-image-7.3.4+deb13-amd64=7.3.4-1~bpo13+1@trixie-backports",
		"deb:linux-image-7.4-rc2-amd64=7.4~rc2-1~exp1@sid",
	}, args(l)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"amd64", "cloud-amd64"}, l.Flavours()); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(PackageVersion{
		Package: "linux-image-7.3.4+deb13-amd64", Version: "7.3.4-1~bpo13+1", Upstream: Upstream{7, 3, 4, 0}, Release: "7.3.4+deb13-amd64",
		Arch: arch.X86_64, Flavour: "amd64", Suite: "trixie-backports", Arg: "deb:linux-image-7.3.4+deb13-amd64=7.3.4-1~bpo13+1@trixie-backports", Size: 400,
	}, l.Packages[6]); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{
		"trixie-backports: 1 left out, because the suite no longer has the package with the kernel: linux-image-7.2.6+deb13-amd64",
	}, l.Notes); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"linux-base-6.18.5+deb13-amd64"}, l.Packages[5].Lacks); d != "" {
		t.Error(d)
	}

	// A metapackage is all of its flavour; asking again needs no mirror.
	f.calls()
	l, err = ListPackages(t.Context(), "deb:linux-image-amd64@bookworm", f.opts)
	check(t, err)
	if d := cmp.Diff([]string{"deb:linux-image-6.1.0-50-amd64=6.1.176-1@bookworm"}, args(l)); d != "" {
		t.Error(d)
	}
	if n := f.calls(); n != 0 {
		t.Errorf("apt-get ran %d times for lists that are there", n)
	}
}

func TestListArchiveWithoutSuite(t *testing.T) {
	f := newFakeArchive(t)
	write(t, filepath.Join(f.dir, "offline-trixie"), nil)
	l, err := ListPackages(t.Context(), "deb:linux-image-*-amd64", f.opts)
	check(t, err)
	if len(l.Packages) != 6 {
		t.Errorf("packages %v", args(l))
	}
	for _, want := range []string{"trixie is left out: ", "bullseye is left out: ", "bookworm-security is left out: "} {
		if !slices.ContainsFunc(l.Notes, func(n string) bool { return strings.HasPrefix(n, want) }) {
			t.Errorf("notes %q, want %q", l.Notes, want)
		}
	}
}

func TestListErrors(t *testing.T) {
	f := newFakeArchive(t)
	write(t, filepath.Join(f.dir, "offline-sid"), nil)
	empty := t.TempDir()
	write(t, filepath.Join(empty, "broken.deb"), []byte(arMagic+"x"))
	for pattern, want := range map[string]string{
		"deb:linux-image-*-amd64@bookwurm":            `no suite "bookwurm": suites that hold kernels are bullseye`,
		"deb:linux-image-*-amd64@trixie,bookwurm":     `no suite "bookwurm"`,
		"deb:linux-image-*-amd64@sid":                 "Could not resolve 'mirror.example'",
		"deb:linux-image-9*-amd64@trixie":             "no released kernel of trixie for x86_64 matches",
		"deb:linux-image-7.2*-amd64@trixie-backports": "no longer has the package with the kernel",
		"deb:linux-image-*-amd64=6.1@trixie":          "a version names one kernel",
		"deb:linux-image-[-amd64@trixie":              "not a valid pattern",
		"deb:linux-image-*":                           `kernel "deb:linux-image-*": the package's name does not show its architecture: use --arch`,
		"deb:linux-image-*-amd64@":                    "not a suite",
		"dir:/nonexistent":                            "not a directory",
		"/nonexistent/*.deb":                          "no such file",
		"/nonexistent/[":                              "not a valid pattern",
		"dir:" + empty:                                "broken.deb is left out: ",
		empty + "/broken.deb":                         "no control.tar",
	} {
		l, err := ListPackages(t.Context(), pattern, f.opts)
		if err == nil || l != nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want %q", pattern, err, want)
		}
	}
}

// packaged is a Debian package with a proper control file.
func packaged(t testing.TB, control string, entries ...entry) []byte {
	t.Helper()
	return arFile(entry{name: "debian-binary", body: "2.0\n"},
		entry{name: "control.tar.xz", body: string(pack(t, "xz", tarball(t, entry{name: "./md5sums", body: "x"}, entry{name: "./control", body: control})))},
		entry{name: "data.tar.xz", body: string(pack(t, "xz", tarball(t, entries...)))})
}

func TestListDirectory(t *testing.T) {
	dir := t.TempDir()
	save := func(name, version, depends string, entries ...entry) {
		control := fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: amd64\nDepends: %s\nDescription: a\n b\n", name, version, depends)
		write(t, filepath.Join(dir, name+"_"+version+"_amd64.deb"), packaged(t, control, entries...))
	}
	all := fedora(t)
	save("linux-image-6.1.0-50-cloud-amd64", "6.1.176-1", "kmod", debian6(t)...)
	save("linux-image-7.3.4-cloud-amd64", "7.3.4-1", "linux-binary-7.3.4-cloud-amd64 (= 7.3.4-1), linux-modules-7.3.4-cloud-amd64 (= 7.3.4-1)")
	save("linux-binary-7.3.4-cloud-amd64", "7.3.4-1", "linux-base-7.3.4-cloud-amd64 (= 7.3.4-1)", all[0])
	save("linux-base-7.3.4-cloud-amd64", "7.3.4-1", "", all[2], all[3])
	save("linux-modules-7.3.4-cloud-amd64", "7.3.4-1", "", all[4])
	save("linux-image-7.2.6-cloud-amd64", "7.2.6-1", "linux-binary-7.2.6-cloud-amd64 (= 7.2.6-1)")
	save("linux-image-cloud-amd64", "7.3.4-1", "linux-image-7.3.4-cloud-amd64 (= 7.3.4-1)")
	save("linux-headers-7.3.4-cloud-amd64", "7.3.4-1", "")
	save("linux-image-6.18.5-cloud-amd64", "6.18.5-1", "linux-base-6.18.5-cloud-amd64 (= 6.18.5-1)", all[0])
	write(t, filepath.Join(dir, "kept"), []byte(image(t)))
	write(t, filepath.Join(dir, "kept.truth.json"), []byte("{}"))
	check(t, os.MkdirAll(filepath.Join(dir, "kept.modules", "kernel"), 0o755))
	bare := t.TempDir()
	write(t, filepath.Join(bare, "kept"), []byte(image(t)))
	write(t, filepath.Join(dir, "notes"), []byte("not a kernel"))

	opts := Options{Cache: store(t)}
	for place, want := range map[string]bool{dir: false, bare: true} {
		if l, err := ListPackages(t.Context(), filepath.Join(place, "kept"), opts); err != nil || l.Packages[0].Bare != want {
			t.Errorf("%s: %+v, %v, want %v", place, l, err, want)
		}
	}
	for _, pattern := range []string{"dir:" + dir, dir, dir + "/*"} {
		l, err := ListPackages(t.Context(), pattern, opts)
		check(t, err)
		var got []string
		for _, p := range l.Packages {
			got = append(got, fmt.Sprint(filepath.Base(p.Arg), " ", p.Upstream, " ", p.Flavour, " ", p.Release, " ", p.Arch))
		}
		if d := cmp.Diff([]string{
			"kept 6.1 unwedge " + kerneltest.Release + " x86_64",
			"linux-image-6.1.0-50-cloud-amd64_6.1.176-1_amd64.deb 6.1.176 cloud-amd64 6.1.0-50-cloud-amd64 x86_64",
			"linux-image-6.18.5-cloud-amd64_6.18.5-1_amd64.deb 6.18.5 cloud-amd64 6.18.5-cloud-amd64 x86_64",
			"linux-image-7.3.4-cloud-amd64_7.3.4-1_amd64.deb 7.3.4 cloud-amd64 7.3.4-cloud-amd64 x86_64",
		}, got); d != "" {
			t.Errorf("%s: %s", pattern, d)
		}
		if len(l.Notes) != 2 || !strings.Contains(l.Notes[0], "linux-binary-7.2.6-cloud-amd64_7.2.6-1_amd64.deb") || !strings.Contains(l.Notes[1], "not a kernel") {
			t.Errorf("%s: notes %q", pattern, l.Notes)
		}
		// What is listed can be booted: the parts beside it are found.
		c, err := Resolve(t.Context(), l.Packages[3].Arg, opts)
		if err != nil || c.Kernel.Release != release || c.ModulesDir == "" || c.ConfigPath == "" || c.Lacks != nil {
			t.Errorf("candidate %+v, %v", c, err)
		}
		want := []string{"linux-base-6.18.5-cloud-amd64"}
		if c, err = Resolve(t.Context(), l.Packages[2].Arg, opts); err != nil || !slices.Equal(c.Lacks, want) || !slices.Equal(l.Packages[2].Lacks, want) {
			t.Errorf("candidate %+v, %v", c, err)
		}
	}
	_, err := Resolve(t.Context(), filepath.Join(dir, "linux-image-7.2.6-cloud-amd64_7.2.6-1_amd64.deb"), opts)
	if err == nil || !strings.Contains(err.Error(), "contains no kernel") || !strings.Contains(err.Error(), "missing: linux-binary-7.2.6") {
		t.Errorf("error %v", err)
	}
	opts.Arch = arch.AArch64
	if _, err := ListPackages(t.Context(), dir, opts); err == nil || !strings.Contains(err.Error(), "it is for x86_64, not aarch64") {
		t.Errorf("error %v", err)
	}
}

// A build of one's own leaves unsigned packages; beside the signed one they are the
// same kernel.
func TestListUnsigned(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"linux-image-6.1.0-50-amd64-unsigned", "linux-image-6.1.0-51-amd64-unsigned", "linux-image-6.1.0-51-amd64", "linux-image-6.1.0-51-amd64-dbg"} {
		version := "6.1.1" + name[len("linux-image-6.1.0-")+1:][:1] + "-1"
		control := fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: amd64\n", name, version)
		write(t, filepath.Join(dir, name+"_"+version+"_amd64.deb"), packaged(t, control, debian6(t)...))
	}
	l, err := ListPackages(t.Context(), dir, Options{Cache: store(t)})
	check(t, err)
	var got []string
	for _, p := range l.Packages {
		got = append(got, p.Package+" "+p.Release+" "+p.Flavour)
	}
	if d := cmp.Diff([]string{"linux-image-6.1.0-50-amd64-unsigned 6.1.0-50-amd64 amd64", "linux-image-6.1.0-51-amd64 6.1.0-51-amd64 amd64"}, got); d != "" {
		t.Error(d)
	}
}

// A set of Fedora's packages is one kernel with its modules.
func TestListRPM(t *testing.T) {
	dir := t.TempDir()
	all := fedora(t)
	modules := "./lib/modules/" + release + "/kernel/"
	for nvr, members := range map[string][]entry{
		"kernel-core-6.12.5-200.fc41":         all[:4],
		"kernel-modules-core-6.12.5-200.fc41": all[4:5],
		"kernel-modules-6.12.5-200.fc41":      {{name: modules + "net/b.ko", body: "b"}},
		"kernel-modules-6.12.4-200.fc41":      {{name: modules + "net/c.ko", body: "c"}},
		"kernel-core-6.12.3-200.fc41":         all[:4],
		"kernel-modules-core-6.12.3-999.fc41": all[4:5],
		"kernel-default-6.12.2-1":             all,
	} {
		b := rpm(t, "zstd", members...)
		copy(b[10:76], nvr)
		write(t, filepath.Join(dir, strings.Replace(nvr, "-999", "-200", 1)+".x86_64.rpm"), b)
	}
	opts := Options{Cache: store(t)}
	l, err := ListPackages(t.Context(), dir, opts)
	check(t, err)
	var got []string
	for _, p := range l.Packages {
		got = append(got, fmt.Sprint(p.Package, " ", p.Version, " ", p.Release, " ", p.Lacks, " ", p.LacksModules()))
	}
	if d := cmp.Diff([]string{
		"kernel-default 6.12.2-1 " + release + " [] false",
		"kernel-core 6.12.3-200.fc41 " + release + " [kernel-modules-core] true", // what lies beside it is of another build
		"kernel-core 6.12.5-200.fc41 " + release + " [] false",
	}, got); d != "" {
		t.Error(d)
	}
	c, err := Resolve(t.Context(), l.Packages[2].Arg, opts)
	check(t, err)
	for _, name := range []string{"fs/a.ko", "net/b.ko"} {
		if firstFile(filepath.Join(c.ModulesDir, "kernel", name)) == "" {
			t.Errorf("%s lacks %s", c.ModulesDir, name)
		}
	}
	if firstFile(filepath.Join(c.ModulesDir, "kernel/net/c.ko")) != "" {
		t.Error("a module of another version")
	}
	var size int64
	for _, name := range []string{"core", "modules-core", "modules"} {
		st, err := os.Stat(filepath.Join(dir, "kernel-"+name+"-6.12.5-200.fc41.x86_64.rpm"))
		check(t, err)
		size += st.Size()
	}
	if l.Packages[2].Size != size {
		t.Errorf("size %d, want %d", l.Packages[2].Size, size)
	}
}

// Trees that kernels were built in are kernels that were kept.
func TestListTrees(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "good", "arch/x86/boot/bzImage"), []byte(image(t)))
	write(t, filepath.Join(dir, "good", "vmlinux"), kerneltest.Vmlinux())
	write(t, filepath.Join(dir, "broken", "arch/x86/boot/bzImage"), []byte("half"))
	write(t, filepath.Join(dir, "source", "Makefile"), []byte("VERSION = 6"))
	opts := Options{Cache: store(t)}
	l, err := ListPackages(t.Context(), dir, opts)
	check(t, err)
	if len(l.Packages) != 1 || l.Packages[0].Arg != filepath.Join(dir, "good") || l.Packages[0].Release != release || l.Packages[0].Size == 0 {
		t.Errorf("packages %+v", l.Packages)
	}
	if len(l.Notes) != 1 || !strings.HasPrefix(l.Notes[0], "broken is left out: ") {
		t.Errorf("notes %q", l.Notes)
	}
	if c, err := Resolve(t.Context(), l.Packages[0].Arg, opts); err != nil || c.Kernel.Release != release {
		t.Errorf("candidate %+v, %v", c, err)
	}
}

func FuzzReadControl(f *testing.F) {
	f.Add(packaged(f, "Package: linux-image-6.1.0-amd64\nVersion: 6.1-1\nArchitecture: amd64\n"))
	f.Add(deb(f, "gzip"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, _, err := readControl(t.Context(), write(t, filepath.Join(t.TempDir(), "x"), b))
		if err == nil && (p.Name == "" || p.Version == "") {
			t.Errorf("no error and %+v", p)
		}
	})
}

// Backports and security updates add to a release; what they add to is looked through
// before them.
func TestWithBase(t *testing.T) {
	for pattern, want := range map[string]string{
		"deb:linux-image-*-amd64@trixie-backports":                        "deb:linux-image-*-amd64@trixie,trixie-security,trixie-backports",
		"deb:linux-image-*-amd64@bookworm-security":                       "deb:linux-image-*-amd64@bookworm,bookworm-security",
		"deb:linux-image-*-amd64@sid,trixie-backports,trixie":             "deb:linux-image-*-amd64@sid,trixie,trixie-security,trixie-backports",
		"deb:linux-image-*-amd64@bullseye,bullseye-security":              "",
		"deb:linux-image-*-amd64@trixie,trixie-security,trixie-backports": "",
		"deb:linux-image-*-amd64@nosuch-backports":                        "",
		"deb:linux-image-*-amd64":                                         "",
		"./kept-kernels/*@trixie-backports":                               "",
	} {
		got, ok := WithBase(pattern)
		if ok != (want != "") || ok && got != want {
			t.Errorf("%s: %s, %v, want %s", pattern, got, ok, want)
		}
	}
}
