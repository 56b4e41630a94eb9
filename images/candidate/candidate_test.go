package candidate

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/images/kernel"
	"github.com/unwedge/unwedge/images/kernel/kerneltest"
	"github.com/unwedge/unwedge/scenarios/arch"
)

func TestResolvePackages(t *testing.T) {
	for name, pkg := range map[string][]byte{
		"deb none": deb(t, "none", debian6(t)...), "deb gzip": deb(t, "gzip", debian6(t)...),
		"deb xz": deb(t, "xz", debian6(t)...), "deb zstd": deb(t, "zstd", fedora(t)...),
		"rpm gzip": rpm(t, "gzip", fedora(t)...), "rpm xz": rpm(t, "xz", fedora(t)...), "rpm zstd": rpm(t, "zstd", debian6(t)...),
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, filepath.Join(t.TempDir(), "some-file"), pkg)
			opts := Options{Cache: store(t), Arch: arch.X86_64}
			c, err := Resolve(t.Context(), path, opts)
			check(t, err)
			if c.Kernel.Release != release || c.Origin != path || c.Kernel.Config.Get("CONFIG_HZ") != "250" {
				t.Errorf("candidate %+v, kernel %+v", c, c.Kernel)
			}
			if b, err := os.ReadFile(filepath.Join(c.ModulesDir, "kernel/fs/a.ko")); string(b) != "a" || filepath.Base(c.ModulesDir) != release {
				t.Errorf("module %q in %s: %v", b, c.ModulesDir, err)
			}
			if b, err := os.ReadFile(c.SystemMap); string(b) != "stub\n" {
				t.Errorf("System.map %q, %v", b, err)
			}
			payload, err := os.ReadFile(c.Kernel.Unpacked)
			if err != nil || !bytes.Equal(payload, kerneltest.Vmlinux()) {
				t.Errorf("unpacked kernel: %d bytes, %v", len(payload), err)
			}
			again, err := Resolve(t.Context(), path, opts)
			if err != nil || again.Kernel.Path != c.Kernel.Path {
				t.Errorf("resolved again: %+v, %v", again, err)
			}
		})
	}
}

func TestPackageErrors(t *testing.T) {
	good := deb(t, "gzip", debian6(t)...)
	flipped := bytes.Clone(good)
	flipped[len(flipped)-30] ^= 0xff
	goodRPM := rpm(t, "gzip", fedora(t)...)
	hostile := func(e entry) []byte { return deb(t, "gzip", append(debian6(t), e)...) }
	for name, tc := range map[string]struct {
		pkg          []byte
		member, want string
	}{
		"traversal":          {hostile(entry{name: "./boot/../../etc/passwd", body: "x"}), "./boot/../../etc/passwd", "leaves the archive"},
		"traversal outside":  {hostile(entry{name: "usr/../../x", body: "x"}), "usr/../../x", "leaves the archive"},
		"absolute path":      {hostile(entry{name: "/boot/x", body: "x"}), "/boot/x", "absolute"},
		"absolute link":      {hostile(entry{name: "./boot/x", kind: tar.TypeSymlink, link: "/etc/passwd"}), "./boot/x", "absolute link"},
		"link out":           {hostile(entry{name: "./boot/x", kind: tar.TypeSymlink, link: "../../x"}), "./boot/x", "leaves the archive"},
		"hard link out":      {hostile(entry{name: "./boot/x", kind: tar.TypeLink, link: "../../etc/passwd"}), "./boot/x", "leaves the archive"},
		"device":             {hostile(entry{name: "./boot/x", kind: tar.TypeChar}), "./boot/x", "device"},
		"pipe":               {hostile(entry{name: "./dev/x", kind: tar.TypeFifo}), "./dev/x", "device, pipe"},
		"empty file":         {nil, "", "empty"},
		"no kernel":          {deb(t, "gzip", entry{name: "./usr/share/doc/x", body: "x"}), "", "contains no kernel"},
		"bad kernel":         {deb(t, "gzip", entry{name: "./boot/vmlinuz-1", body: "text"}), "boot/vmlinuz-1", "not a kernel"},
		"no data":            {arFile(entry{name: "debian-binary", body: "2.0\n"}), "", "no data.tar"},
		"broken ar":          {append([]byte(arMagic), strings.Repeat("x", 60)...), "", "ar header is broken"},
		"cut in the header":  {good[:len(arMagic)+20], "", "truncated or corrupt"},
		"cut in the data":    {good[:len(good)-200], "", "truncated or corrupt"},
		"flipped bits":       {flipped, "", "corrupt"},
		"rpm cut":            {goodRPM[:len(goodRPM)-200], "", "corrupt"},
		"rpm lead only":      {goodRPM[:40], "", "no lead"},
		"rpm header":         {append(bytes.Clone(goodRPM[:rpmLead]), make([]byte, 64)...), "", "header's magic"},
		"rpm device":         {rpm(t, "gzip", entry{name: "./boot/x", kind: tar.TypeChar}), "./boot/x", "device"},
		"rpm traversal":      {rpm(t, "gzip", entry{name: "../x", body: "x"}), "../x", "leaves the archive"},
		"rpm absolute link":  {rpm(t, "gzip", entry{name: "./boot/x", kind: tar.TypeSymlink, link: "/x"}), "./boot/x", "absolute link"},
		"link, then through": {deb(t, "gzip", entry{name: "boot/d", kind: tar.TypeSymlink, link: "../usr"}, entry{name: "boot/d/x", body: "x"}), "boot/d/x", "cannot be unpacked"},
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, filepath.Join(t.TempDir(), "p"), tc.pkg)
			s := store(t)
			c, err := Resolve(t.Context(), path, Options{Cache: s})
			if err == nil || c != nil {
				t.Fatalf("no error, %+v", c)
			}
			if text := err.Error(); !strings.Contains(text, tc.want) || !strings.Contains(text, path) || strings.Contains(text, "\n") {
				t.Errorf("error %q, want %q and %s in it", text, tc.want, path)
			}
			var bad *PackageError
			if tc.member != "" && (!errors.As(err, &bad) || bad.Member != tc.member) {
				t.Errorf("error %v, want a PackageError for member %s", err, tc.member)
			}
			if list, err := s.List(); err != nil || len(list) != 0 {
				t.Errorf("the cache kept %v, %v", list, err)
			}
		})
	}
}

func TestHardLinks(t *testing.T) {
	dir := "./lib/modules/" + release + "/kernel/"
	for name, pkg := range map[string][]byte{
		"rpm": rpm(t, "gzip", append(fedora(t), entry{name: dir + "b.ko", inode: 7}, entry{name: dir + "c.ko", body: "data", inode: 7})...),
		"deb": deb(t, "gzip", append(debian6(t), entry{name: dir + "c.ko", body: "data"}, entry{name: dir + "b.ko", kind: tar.TypeLink, link: dir + "c.ko"})...),
	} {
		c, err := Resolve(t.Context(), write(t, filepath.Join(t.TempDir(), "p"), pkg), Options{Cache: store(t)})
		check(t, err)
		for _, m := range []string{"b.ko", "c.ko"} {
			if b, err := os.ReadFile(filepath.Join(c.ModulesDir, "kernel", m)); string(b) != "data" {
				t.Errorf("%s: %s holds %q, %v", name, m, b, err)
			}
		}
	}
}

func TestHugeMember(t *testing.T) {
	out, err := newUnpacker(t.TempDir())
	check(t, err)
	defer out.Close()
	out.archive = "p.deb"
	err = out.add(member{name: "./boot/x", size: maxMember + 1}, strings.NewReader(""))
	if err == nil || !strings.Contains(err.Error(), `p.deb: member "./boot/x": claims 1024 MiB`) {
		t.Errorf("error %v", err)
	}
}

func TestResolveFile(t *testing.T) {
	dir := t.TempDir()
	path := write(t, filepath.Join(dir, "boot", "vmlinuz"), []byte(image(t)))
	config := write(t, filepath.Join(dir, "boot", "config-"+release), []byte("CONFIG_A=y\n"))
	modules := filepath.Join(dir, "lib/modules", release)
	write(t, filepath.Join(modules, "kernel/a.ko"), nil)
	opts := Options{Cache: store(t)}
	c, err := Resolve(t.Context(), path, opts)
	check(t, err)
	if c.ConfigPath != config || c.ModulesDir != modules || c.SystemMap != "" || c.Kernel.Config.Get("CONFIG_A") != "y" {
		t.Errorf("candidate %+v", c)
	}
	if c.Kernel.Unpacked == path {
		t.Error("the unpacked kernel is the packed one")
	}
	opts.Arch = arch.AArch64
	var bad *kernel.BadKernelError
	if _, err := Resolve(t.Context(), path, opts); !errors.As(err, &bad) || !strings.Contains(bad.Reason, "aarch64 is wanted") {
		t.Errorf("error %v", err)
	}
	var missing *NotFoundError
	if _, err := Resolve(t.Context(), path+"x", opts); !errors.As(err, &missing) {
		t.Errorf("error %v, want NotFoundError", err)
	}
	img := write(t, filepath.Join(dir, "Image"), kerneltest.Image())
	if c, err = Resolve(t.Context(), img, opts); err != nil || c.Kernel.Unpacked != img {
		t.Errorf("a raw Image is its own payload: %+v, %v", c, err)
	}
}

func TestResolveTree(t *testing.T) {
	tree := t.TempDir()
	opts := Options{Cache: store(t)}
	_, err := Resolve(t.Context(), tree, opts)
	if err == nil || !strings.Contains(err.Error(), "nothing is built") {
		t.Errorf("error %v", err)
	}
	put := func(name, text string) { t.Helper(); write(t, filepath.Join(tree, name), []byte(text)) }
	put("arch/x86/boot/bzImage", image(t))
	put("include/config/kernel.release", release+"\n")
	put(".config", "CONFIG_HZ=1000\n")
	put("modules.order", "fs/fat/vfat.o\nfs/fat/fat.o\nlib/crc-t10dif.o\n")
	put("modules.builtin", "kernel/fs/ext4/ext4.ko\n")
	put("fs/fat/vfat.ko", string(module("fat")))
	put("fs/fat/fat.ko", string(module("crc-t10dif")))
	put("lib/crc-t10dif.ko", string(module("")))
	c, err := Resolve(t.Context(), tree, opts)
	check(t, err)
	if c.Kernel.Config.Get("CONFIG_HZ") != "1000" || c.SystemMap != "" || c.Origin != tree {
		t.Errorf("candidate %+v", c)
	}
	dep, err := os.ReadFile(filepath.Join(c.ModulesDir, "modules.dep"))
	check(t, err)
	want := "kernel/fs/fat/vfat.ko: kernel/fs/fat/fat.ko kernel/lib/crc-t10dif.ko\n" +
		"kernel/fs/fat/fat.ko: kernel/lib/crc-t10dif.ko\nkernel/lib/crc-t10dif.ko:\n"
	if string(dep) != want {
		t.Errorf("modules.dep:\n%swant:\n%s", dep, want)
	}
	if !strings.HasSuffix(c.ModulesDir, "lib/modules/"+release) {
		t.Errorf("modules in %s", c.ModulesDir)
	}
	put("fs/fat/fat.ko", string(module(""))+"built again")
	if again, err := Resolve(t.Context(), tree, opts); err != nil || again.ModulesDir == c.ModulesDir {
		t.Errorf("a new build has the old modules: %v", err)
	}

	put("arch/arm64/boot/Image", string(kerneltest.Image()))
	if _, err := Resolve(t.Context(), tree, opts); err == nil || !strings.Contains(err.Error(), "two architectures") {
		t.Errorf("error %v", err)
	}
	opts.Arch = arch.AArch64
	if c, err := Resolve(t.Context(), tree, opts); err != nil || c.Kernel.Arch != arch.AArch64 {
		t.Errorf("%+v, %v", c, err)
	}
	put("lib/crc-t10dif.ko", "no module")
	put("modules.order", "../../etc/x.o\n")
	if _, err := Resolve(t.Context(), tree, opts); err == nil || !strings.Contains(err.Error(), "not a list of modules") {
		t.Errorf("error %v", err)
	}
	put("include/config/kernel.release", "9.9\n")
	if _, err := Resolve(t.Context(), tree, opts); err == nil || !strings.Contains(err.Error(), "configured as 9.9") {
		t.Errorf("error %v", err)
	}
}

func FuzzDeb(f *testing.F) {
	f.Add(deb(f, "gzip", debian6(f)...))
	f.Add(deb(f, "none", fedora(f)...))
	f.Add(deb(f, "xz", entry{name: "../x", body: "x"}))
	f.Add(rpm(f, "gzip", fedora(f)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		path := write(t, filepath.Join(dir, "in", "p"), b)
		extract := extractDeb
		if bytes.HasPrefix(b, []byte(rpmMagic)) {
			extract = extractRPM
		}
		_ = extractInto(t.Context(), filepath.Join(dir, "out"), extract, path)
		seen, err := os.ReadDir(dir)
		if err != nil || len(seen) != 2 {
			t.Errorf("written outside: %v, %v", seen, err)
		}
	})
}
