package bundle_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/unwedge/unwedge/harness/internal/bundle"
	"github.com/unwedge/unwedge/harness/internal/machine"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/images/kernel"
	"github.com/unwedge/unwedge/images/kernel/kerneltest"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"
)

var roomy = bundle.Limits{Bytes: 64 << 20}

// disk is a raw disk with a partition table.
func disk() []byte {
	b := make([]byte, 4096)
	copy(b[510:], "\x55\xaa")
	return b
}

// run makes a run's directory in alice's home.
func run(t *testing.T, change func(*result.Result)) (string, *result.Result) {
	t.Helper()
	home := filepath.Join(t.TempDir(), "home", "alice")
	t.Setenv("HOME", home)
	dir := filepath.Join(home, "runs", "one")
	file := func(name string, b []byte) string {
		path := filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	file("runs/one/console.log", []byte("[    0.0] Linux version\n"))
	file("runs/one/dump-sysrq-w.txt", []byte("blocked"))
	file("runs/one/qmp.jsonl", []byte("{}"))
	k := file("src/linux, mine/vmlinux", kerneltest.Vmlinux())
	sum, err := kernel.HashFile(k)
	if err != nil {
		t.Fatal(err)
	}
	tmpl, err := scenarios.Builtin().Find("tiny")
	if err != nil {
		t.Fatal(err)
	}
	tmpl.Arch = []arch.Arch{arch.X86_64}
	spec := machine.Spec{
		QEMU: home + "/bin/qemu-system-x86_64", Scenario: tmpl.Cells()[0], Accel: result.KVM, Kernel: k, Initrd: file("cache/initrd", []byte("cpio")),
		Disks:   []machine.Disk{{Path: file("cache/root", disk()), Serial: "root"}},
		Sockets: machine.Sockets{Console: dir + "/sockets/console", QMP: 3},
	}
	r := &result.Result{
		Schema: result.Schema, Scenario: spec.Scenario, Dir: dir, Outcome: scenarios.Hung,
		Kernel: result.Kernel{Origin: "../../linux, mine", Path: k, Booted: k, SHA256: sum, Release: "7.3.0-rc1"},
		Host:   result.Host{QEMU: spec.QEMU, QEMUVersion: "10.0.2", Accel: spec.Accel, AccelWhy: "it ran", Args: spec.Args(), Cmdline: spec.Cmdline()},
		Times:  result.Times{Started: time.Now().Add(time.Hour)},
		Files:  map[string]string{"console": "console.log", "qmp": "qmp.jsonl", "dump-sysrq-w": "dump-sysrq-w.txt"},
		Notes:  []string{"no types: /srv/alice/debug/vmlinux was not read", "see " + home + "/log"},
	}
	if change != nil {
		change(r)
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	file("runs/one/result.json", b)
	return dir, r
}

func pack(t *testing.T, dir string, r *result.Result, o bundle.Options) ([]byte, bundle.Manifest) {
	t.Helper()
	var out bytes.Buffer
	if o.Limits.Bytes == 0 {
		o.Limits = roomy
	}
	m, err := bundle.Write(t.Context(), &out, dir, r, o)
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), m
}

// entries are the files of an archive.
func entries(t *testing.T, packed []byte) map[string]string {
	t.Helper()
	z, err := zstd.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	got := map[string]string{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err != nil {
			return got
		}
		var b bytes.Buffer
		if _, err := b.ReadFrom(r); err != nil {
			t.Fatal(err)
		}
		got[filepath.Base(h.Name)] = b.String()
	}
}

func open(t *testing.T, packed []byte, trust bool) (*bundle.Case, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "x.tar.zst")
	if err := os.WriteFile(file, packed, 0o644); err != nil {
		t.Fatal(err)
	}
	return bundle.Open(file, t.TempDir(), roomy, trust)
}

func TestTheSameRunGivesTheSameBytes(t *testing.T) {
	dir, r := run(t, nil)
	a, _ := pack(t, dir, r, bundle.Options{Whole: true})
	b, _ := pack(t, dir, r, bundle.Options{Whole: true})
	if !bytes.Equal(a, b) {
		t.Error("they differ")
	}
}

func TestNothingOfTheHostIsInIt(t *testing.T) {
	dir, r := run(t, nil)
	packed, _ := pack(t, dir, r, bundle.Options{Whole: true})
	got := entries(t, packed)
	for name, text := range got {
		if strings.Contains(text, "alice") || strings.Contains(text, "mine/") {
			t.Errorf("%s names this host's paths: %s", name, text)
		}
	}
	for _, name := range []string{"manifest.json", "result.json", "console.log", "dump-sysrq-w.txt", "kernel", "initrd", "disk0.raw", "qemu.sh"} {
		if _, ok := got[name]; !ok {
			t.Errorf("no %s", name)
		}
	}
	if _, ok := got["qmp.jsonl"]; ok {
		t.Error("QEMU's own messages, with paths, are in it")
	}
}

func TestABundleBootsTheSameMachine(t *testing.T) {
	for _, whole := range []bool{true, false} {
		dir, r := run(t, nil)
		packed, m := pack(t, dir, r, bundle.Options{Whole: whole})
		c, err := open(t, packed, false)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(m.Absent()); whole != (n == 0) || n != len(c.Absent) {
			t.Fatalf("whole %v: %d files absent, %d known", whole, n, len(c.Absent))
		}
		if err := c.Find(nil, t.TempDir()); whole != (err == nil) {
			t.Fatalf("whole %v: %v", whole, err)
		}
		root := filepath.Join(os.Getenv("HOME"), "cache", "root")
		if !whole {
			if err := c.Find([]string{root}, t.TempDir()); err != nil {
				t.Fatal(err)
			}
		}
		for _, f := range []string{c.Kernel, c.Machine.Kernel, c.Machine.Initrd, c.Machine.Disks[0].Path} {
			if _, err := os.Stat(f); err != nil || !filepath.IsAbs(f) {
				t.Errorf("%s: %v", f, err)
			}
		}
		if c.Machine.Append != r.Host.Cmdline || c.Machine.Disks[0].Serial != "root" || !c.Foreign {
			t.Errorf("%+v", c)
		}
	}
}

// A stand-in for QEMU prints its arguments.
func TestQEMUScriptNeedsQEMUAlone(t *testing.T) {
	dir, r := run(t, nil)
	packed, _ := pack(t, dir, r, bundle.Options{Whole: true})
	got, to := entries(t, packed), t.TempDir()
	for name, text := range got {
		if err := os.WriteFile(filepath.Join(to, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for env, want := range map[string]string{"": "-accel kvm", "ACCEL=tcg": "-accel tcg"} {
		cmd := exec.CommandContext(t.Context(), "sh", filepath.Join(to, "qemu.sh"))
		cmd.Env = append(os.Environ(), "QEMU=echo", env)
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) || !strings.Contains(string(out), "-kernel kernel -initrd initrd") {
			t.Errorf("%s: %v: %s", env, err, out)
		}
	}
	bare, _ := pack(t, dir, r, bundle.Options{})
	if err := os.WriteFile(filepath.Join(to, "qemu.sh"), []byte(entries(t, bare)["qemu.sh"]), 0o755); err != nil {
		t.Fatal(err)
	}
	for content, want := range map[string]string{string(disk()): "-kernel kernel", "another disk": "not in this bundle"} {
		if err := os.WriteFile(filepath.Join(to, "disk0.raw"), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "sh", filepath.Join(to, "qemu.sh"))
		cmd.Env = append(os.Environ(), "QEMU=echo")
		if out, _ := cmd.CombinedOutput(); !strings.Contains(string(out), want) {
			t.Errorf("no %q in %s", want, out)
		}
	}
}

func TestWhatCannotBePacked(t *testing.T) {
	for want, tt := range map[string]struct {
		change func(*result.Result)
		limits bundle.Limits
	}{
		"directory /tree of this host":  {func(r *result.Result) { r.Scenario.RootDir = "/tree" }, roomy},
		"not the kernel that was":       {func(r *result.Result) { r.Kernel.SHA256 = "00" }, roomy},
		"was changed after the boot":    {func(r *result.Result) { r.Times.Started = time.Unix(0, 0) }, roomy},
		"is gone":                       {func(r *result.Result) { r.Kernel.Path = "/nowhere/bzImage" }, roomy},
		"raise --max-size":              {nil, bundle.Limits{Bytes: 1000}},
		"somebody else had started its": {func(r *result.Result) { r.Watched = &result.Watched{} }, roomy},
	} {
		dir, r := run(t, tt.change)
		_, err := bundle.Write(t.Context(), &bytes.Buffer{}, dir, r, bundle.Options{Whole: true, Limits: tt.limits})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v, not %q", err, want)
		}
	}
}

// archive makes a bundle of any entries.
func archive(t *testing.T, entries ...tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	z, err := zstd.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	manifest := []byte(fmt.Sprintf(`{"schema":%q}`, bundle.Schema))
	for _, h := range append([]tar.Header{{Name: "x/manifest.json", Size: int64(len(manifest))}}, entries...) {
		h.Mode = 0o644
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(h.Name, "manifest.json") {
			_, err = w.Write(manifest)
		} else {
			_, err = w.Write(make([]byte, h.Size))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestHostileArchivesAreRefused(t *testing.T) {
	many := make([]tar.Header, 70)
	for i := range many {
		many[i].Name = fmt.Sprintf("x/f%d", i)
	}
	good, _ := func() ([]byte, bundle.Manifest) { dir, r := run(t, nil); return pack(t, dir, r, bundle.Options{}) }()
	for name, tt := range map[string]struct {
		packed []byte
		want   string
	}{
		"a path upwards":      {archive(t, tar.Header{Name: "x/../../evil"}), "no file of the bundle's folder"},
		"a path from the top": {archive(t, tar.Header{Name: "/etc/evil"}), "no file of the bundle's folder"},
		"another folder":      {archive(t, tar.Header{Name: "y/f"}), "no file of the bundle's folder"},
		"no folder":           {archive(t, tar.Header{Name: "f"}), "no file of the bundle's folder"},
		"a hidden file":       {archive(t, tar.Header{Name: "x/.profile"}), "no file of the bundle's folder"},
		"a link":              {archive(t, tar.Header{Name: "x/l", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}), "no plain file"},
		"a hard link":         {archive(t, tar.Header{Name: "x/l", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"}), "no plain file"},
		"a device":            {archive(t, tar.Header{Name: "x/d", Typeflag: tar.TypeBlock, Devmajor: 8}), "no plain file"},
		"a fifo":              {archive(t, tar.Header{Name: "x/d", Typeflag: tar.TypeFifo}), "no plain file"},
		"a folder":            {archive(t, tar.Header{Name: "x/d/", Typeflag: tar.TypeDir}), "no plain file"},
		"a file twice":        {archive(t, tar.Header{Name: "x/f"}, tar.Header{Name: "x/f"}), "there twice"},
		"a bomb":              {archive(t, tar.Header{Name: "x/f", Size: 65 << 20}), "unpacks to more than 64.0 MiB"},
		"many files":          {archive(t, many...), "more than 64 files"},
		"no result":           {archive(t), "no result.json in it"},
		"torn":                {good[:len(good)/2], "cut short or damaged"},
		"torn at the end":     {good[:len(good)-3], "cut short or damaged"},
		"no archive":          {[]byte("hello, this is text"), "not a bundle"},
		"empty":               {nil, "cut short or damaged"},
	} {
		_, err := open(t, tt.packed, false)
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, not %q", name, err, tt.want)
		}
	}
}

func TestADamagedByteIsNoticed(t *testing.T) {
	dir, r := run(t, nil)
	good, _ := pack(t, dir, r, bundle.Options{})
	bad := bytes.Clone(good)
	bad[len(bad)/2] ^= 0x40
	if _, err := open(t, bad, false); err == nil {
		t.Error("it was taken")
	}
}

// tampered is a bundle whose Result was changed, with a manifest that fits.
func tampered(t *testing.T, change func(*result.Result)) []byte {
	t.Helper()
	dir, r := run(t, nil)
	packed, m := pack(t, dir, r, bundle.Options{Whole: true})
	files := entries(t, packed)
	var inner result.Result
	if err := json.Unmarshal([]byte(files["result.json"]), &inner); err != nil {
		t.Fatal(err)
	}
	change(&inner)
	b, err := json.Marshal(inner)
	if err != nil {
		t.Fatal(err)
	}
	files["result.json"] = string(b)
	var out bytes.Buffer
	z, _ := zstd.NewWriter(&out)
	w := tar.NewWriter(z)
	put := func(name string) {
		if err := w.WriteHeader(&tar.Header{Name: "x/" + name, Size: int64(len(files[name])), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(files[name])); err != nil {
			t.Fatal(err)
		}
	}
	put("manifest.json")
	for _, f := range m.Files {
		put(f.Name)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestAStrangersCaseReachesNothingOfTheHost(t *testing.T) {
	for want, change := range map[string]func(*result.Result){
		"QEMU arguments of its own: -chardev": func(r *result.Result) { r.Scenario.QEMUArgs = []string{"-chardev", "file,path=/evil"} },
		"QEMU devices of its own":             func(r *result.Result) { r.Scenario.Devices = []string{"loader,file=/etc/shadow"} },
		"the directory / of this host":        func(r *result.Result) { r.Scenario.RootDir = "/" },
		"a CPU model with options":            func(r *result.Result) { r.Scenario.CPUModel = "max,x=/y" },
		`boots the file "/etc/shadow"`: func(r *result.Result) {
			r.Host.Args = []string{"-kernel", "kernel", "-initrd", "/etc/shadow"}
		},
		`boots the file "../x"`: func(r *result.Result) { r.Kernel.Path = "../x" },
	} {
		if _, err := open(t, tampered(t, change), false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, not %q", err, want)
		}
	}
	own := func(r *result.Result) { r.Scenario.Devices = []string{"edu"} }
	if _, err := open(t, tampered(t, own), true); err != nil {
		t.Errorf("trusted: %v", err)
	}
}

func TestARunsOwnDirectory(t *testing.T) {
	dir, r := run(t, func(r *result.Result) { r.Scenario.Devices = []string{"edu"} })
	for _, path := range []string{dir, filepath.Join(dir, "result.json")} {
		c, err := bundle.Open(path, t.TempDir(), roomy, false)
		if err != nil || c.Foreign || c.Kernel != r.Kernel.Path {
			t.Errorf("%+v, %v", c, err)
		}
	}
	if _, err := bundle.Open(filepath.Join(dir, "nowhere"), t.TempDir(), roomy, false); err == nil {
		t.Error("a run that is not there was read")
	}
}
