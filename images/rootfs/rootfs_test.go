package rootfs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cavaliergopher/cpio"
	"github.com/google/go-cmp/cmp"

	"github.com/unwedge/unwedge/images/agentproto"
	"github.com/unwedge/unwedge/images/cache"
	"github.com/unwedge/unwedge/scenarios/arch"
)

func TestAccountFiles(t *testing.T) {
	passwd, group, shadow := accountFiles(
		"root:*:0:0:root:/root:/bin/bash\nnobody:*:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\nbroken\n",
		"root:*:0:\nadm:*:4:\n",
		[]account{{"systemd-journal", 999, false}, {"systemd-network", 998, true}},
	)
	want := []string{
		"root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n" +
			"systemd-network:x:998:998::/nonexistent:/usr/sbin/nologin\n",
		"root:x:0:\nadm:x:4:\nsystemd-journal:x:999:\nsystemd-network:x:998:\n",
		"root::19000:0:99999:7:::\nnobody:*:19000:0:99999:7:::\nsystemd-network:*:19000:0:99999:7:::\n",
	}
	if d := cmp.Diff(want, []string{passwd, group, shadow}); d != "" {
		t.Error(d)
	}
}

// fakeTree has what fixTree reads, and traps for what it replaces.
func fakeTree(t *testing.T) (tree, outside string) {
	t.Helper()
	tree, outside = t.TempDir(), filepath.Join(t.TempDir(), "outside")
	for name, text := range map[string]string{
		"usr/share/base-passwd/passwd.master": "root:*:0:0:root:/root:/bin/bash\n",
		"usr/share/base-passwd/group.master":  "root:*:0:\n",
		"var/lib/apt/lists/big":               "x",
	} {
		if err := replace(tree, name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(outside, []byte("untouched"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(tree, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(tree, "etc/hostname")); err != nil {
		t.Fatal(err)
	}
	return tree, outside
}

func TestFixTree(t *testing.T) {
	tree, outside := fakeTree(t)
	for range 2 { // a second run changes nothing
		if err := fixTree(tree); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"etc/systemd/system/default.target":                    "/usr/lib/systemd/system/multi-user.target",
		"etc/systemd/system/getty.target":                      "/dev/null",
		"usr/bin/awk":                                          "mawk",
		"etc/systemd/system/fstrim.timer":                      "/dev/null",
		"etc/systemd/system-generators/systemd-sysv-generator": "/dev/null",
	} {
		if got, err := os.Readlink(filepath.Join(tree, name)); err != nil || got != want {
			t.Errorf("%s → %q, %v, want %q", name, got, err, want)
		}
	}
	if b, _ := os.ReadFile(filepath.Join(tree, "etc/hostname")); string(b) != "unwedge\n" {
		t.Errorf("hostname %q", b)
	}
	if b, _ := os.ReadFile(outside); string(b) != "untouched" {
		t.Errorf("a link out of the tree was followed: %q", b)
	}
	info, err := os.Stat(filepath.Join(tree, "etc/shadow"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("shadow: %v %v", info, err)
	}
	if exists(filepath.Join(tree, "var/lib/apt")) {
		t.Error("apt's lists are still there")
	}
}

func TestFixTreeNeedsBasePasswd(t *testing.T) {
	if err := fixTree(t.TempDir()); err == nil || !strings.Contains(err.Error(), "passwd.master") {
		t.Errorf("error %v", err)
	}
}

// What the boot stands on must not be masked.
func TestMaskedLeavesTheBootAlone(t *testing.T) {
	for _, unit := range []string{
		"multi-user.target", "basic.target", "sysinit.target", "systemd-journald.service",
		"systemd-udevd.service", "systemd-random-seed.service", "dbus.service",
	} {
		if slices.Contains(masked(), unit) {
			t.Errorf("%s is masked", unit)
		}
	}
	if !slices.IsSorted(masked()) {
		t.Error("masked() is not sorted")
	}
}

func TestCmdline(t *testing.T) {
	plain, fips := Cmdline(Flavour{}), Cmdline(Flavour{FIPS: true})
	want := []string{"root=LABEL=unwedge-root", "rootfstype=ext4", "rw", "rd.shell=0", "fsck.mode=skip"}
	if d := cmp.Diff(want, plain); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(append(want, "fips=1", "boot=LABEL=unwedge-boot"), fips); d != "" {
		t.Error(d)
	}
}

func modulesDir(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, n := range names {
		if err := replace(dir, n, []byte("module"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestDriversAreThoseTheKernelHas(t *testing.T) {
	dir := modulesDir(t, "kernel/drivers/char/hw_random/virtio-rng.ko", "kernel/fs/ext4/ext4.ko.xz",
		"kernel/crypto/tcrypt.ko", "kernel/arch/x86/crypto/aesni-intel.ko.zst", "modules.order")
	scan, err := scanModules(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		fips bool
		arch arch.Arch
		want []string
	}{
		{false, arch.X86_64, []string{"virtio_rng", "ext4"}},
		{true, arch.X86_64, []string{"virtio_rng", "ext4", "=crypto", "=arch/x86/crypto"}},
		{true, arch.AArch64, []string{"virtio_rng", "ext4", "=crypto"}},
	} {
		if d := cmp.Diff(c.want, Flavour{c.fips}.drivers(c.arch, dir, scan.names)); d != "" {
			t.Errorf("fips %v, %s:\n%s", c.fips, c.arch, d)
		}
	}
}

func TestScanModulesNoticesAChange(t *testing.T) {
	dir := modulesDir(t, "kernel/a.ko")
	one, err := scanModules(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := replace(dir, "kernel/a.ko", []byte("another module"), 0o644); err != nil {
		t.Fatal(err)
	}
	two, err := scanModules(dir)
	if err != nil {
		t.Fatal(err)
	}
	if one.id == two.id {
		t.Error("the id stayed the same")
	}
	if _, err := scanModules(t.TempDir()); !errors.Is(err, errNoModules) {
		t.Errorf("empty directory: %v", err)
	}
}

func TestDracutRefusesBadInput(t *testing.T) {
	store, err := cache.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	ok := Options{Arch: arch.X86_64, Store: store}
	for name, c := range map[string]struct {
		o    Options
		k    Kernel
		want string
	}{
		"arch":          {Options{Arch: "vax", Store: store}, Kernel{Release: "1", ModulesDir: "/x"}, `architecture "vax"`},
		"image release": {Options{Arch: arch.X86_64, Release: "--help", Store: store}, Kernel{Release: "1"}, "use bookworm"},
		"no release":    {ok, Kernel{ModulesDir: "/x"}, "kernel release"},
		"path release":  {ok, Kernel{Release: "../../etc", ModulesDir: "/x"}, "kernel release"},
		"shell release": {ok, Kernel{Release: "1;reboot", ModulesDir: "/x"}, "kernel release"},
		"no modules":    {ok, Kernel{Release: "6.1"}, "without modules"},
		"absent dir":    {ok, Kernel{Release: "6.1", ModulesDir: "/no/such/dir"}, "/no/such/dir"},
	} {
		path, err := Dracut(context.Background(), c.o, c.k, Flavour{})
		if err == nil || path != "" || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %q, %v, want one line with %q", name, path, err, c.want)
		}
	}
}

// The agent knows by this path that it is to become the initramfs's own /init.
func TestFirstInitIsInTheOverlay(t *testing.T) {
	if "/"+agentPath != agentproto.FirstInit {
		t.Errorf("the agent is at %s, and runs first from %s", agentPath, agentproto.FirstInit)
	}
}

func TestOverlayHoldsAgentAndUnits(t *testing.T) {
	b, err := Overlay([]byte("agent"), nil)
	if err != nil {
		t.Fatal(err)
	}
	got := unpacked(t, b)
	if got["usr/lib/unwedge/run/unwedge/agent"] != "agent" {
		t.Errorf("agent %q", got["usr/lib/unwedge/run/unwedge/agent"])
	}
	for unit, stage := range map[string]string{
		"usr/lib/systemd/system/unwedge-agent-initramfs.service":              "initramfs",
		"usr/lib/systemd/system/unwedge-agent-switch-root.service":            "switch-root",
		"usr/lib/unwedge/run/systemd/system/unwedge-agent-system.service":     "system",
		"usr/lib/unwedge/run/systemd/system/unwedge-agent-multi-user.service": "multi-user",
	} {
		if !strings.Contains(got[unit], "agent report "+stage+"\n") {
			t.Errorf("%s does not report %s: %q", unit, stage, got[unit])
		}
	}
	if _, ok := got["etc/ld.so.preload"]; ok {
		t.Error("a library is preloaded that was not asked for")
	}
	if _, err := Overlay(nil, nil); err == nil {
		t.Error("an empty agent was taken")
	}
}

func TestOverlayPreloadsALibrary(t *testing.T) {
	b, err := Overlay([]byte("agent"), []byte("library"))
	if err != nil {
		t.Fatal(err)
	}
	got := unpacked(t, b)
	name := strings.TrimSpace(got["etc/ld.so.preload"])
	if !strings.HasPrefix(name, "/usr/lib/") || got[name[1:]] != "library" {
		t.Errorf("ld.so preloads %q, which is %q", name, got[strings.TrimPrefix(name, "/")])
	}
}

// unpacked are the files of an archive, links by their target.
func unpacked(t *testing.T, b []byte) map[string]string {
	t.Helper()
	if len(b)%512 != 0 {
		t.Errorf("%d bytes is no multiple of 512", len(b))
	}
	got := map[string]string{}
	seen := map[string]bool{".": true}
	for r := cpio.NewReader(bytes.NewReader(b)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return got
		}
		if err != nil {
			t.Fatal(err)
		}
		if !seen[filepath.Dir(h.Name)] {
			t.Errorf("%s comes before its directory", h.Name)
		}
		seen[h.Name] = true
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		got[h.Name] = h.Linkname + string(data)
	}
}

func TestBootDisk(t *testing.T) {
	dir := t.TempDir()
	kernel := filepath.Join(dir, "kernel")
	if err := os.WriteFile(kernel, []byte("kernel\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	sums, err := hashKernel(kernel)
	if err != nil {
		t.Fatal(err)
	}
	// From `openssl dgst -sha512 -hmac FIPS-FTW-RHT2009`.
	const want = "dc5670907a73b2675e5d62fef5eacc2028211ac64ca6790949e0e850133c266c19f02f2320eacb5806df0c49a3d66a3d9b0ff6ea4ce9cb82af330c2cf057d3bc"
	for _, bad := range []bool{false, true} {
		out := t.TempDir()
		if err := fillBoot(out, kernel, "6.1", sums, BootOptions{CorruptHMAC: bad}); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(out, ".vmlinuz-6.1.hmac"))
		if err != nil {
			t.Fatal(err)
		}
		if right := string(b) == want+"  vmlinuz-6.1\n"; right == bad {
			t.Errorf("corrupt %v: %q", bad, b)
		}
		if len(b) != len(want)+len("  vmlinuz-6.1\n") {
			t.Errorf("corrupt %v: %d bytes", bad, len(b))
		}
	}
	if got := corrupt("0ab"); got != "1ab" {
		t.Errorf("corrupt: %q", got)
	}
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := hashKernel(empty); err == nil {
		t.Error("an empty kernel was taken")
	}
}

func TestContainedTellsWhy(t *testing.T) {
	log := func() *logTail { return &logTail{task: nothing{}} }
	err := contained(context.Background(), log(), nil, "sh", "-c", "echo noise; echo 'E: no space' >&2; echo later; exit 3")
	if err == nil || !strings.Contains(err.Error(), "E: no space") || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %v", err)
	}
	stop := errors.New("stopped by the user")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(stop)
	if err := contained(ctx, log(), nil, "sleep", "1000"); !errors.Is(err, stop) {
		t.Errorf("error %v", err)
	}
	if err := need("no-such-program"); err == nil || !strings.Contains(err.Error(), "no-such-program is not installed") {
		t.Errorf("error %v", err)
	}
}
