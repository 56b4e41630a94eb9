package rootfs

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/unwedge/unwedge/images/cache"
	"github.com/unwedge/unwedge/images/guestbin"
	"github.com/unwedge/unwedge/images/progress"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// Kernel is what an initramfs is made for.
type Kernel struct {
	// Release is `uname -r`.
	Release string
	// ModulesDir is the kernel's lib/modules/RELEASE directory. It is only
	// read, and need not have seen depmod.
	ModulesDir string
	// ID names the content of ModulesDir, for the cache. Where it is "", the
	// names, sizes and times of the module files stand for it.
	ID string
}

// release is what may stand in a path and on a command line.
var kernelRelease = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z.+~_-]{0,63}$`)

func (k Kernel) check() error {
	if !kernelRelease.MatchString(k.Release) || strings.Contains(k.Release, "..") {
		return fmt.Errorf("kernel release %q: want a plain `uname -r`", k.Release)
	}
	return nil
}

// Flavour says which initramfs.
type Flavour struct {
	// FIPS adds dracut's 01fips module and the kernel's crypto modules.
	FIPS bool
}

func (f Flavour) String() string {
	if f.FIPS {
		return "dracut-fips"
	}
	return "dracut"
}

// dracutModules are dracut's own modules, those of a Fedora initramfs for a
// plain disk.
func (f Flavour) dracutModules() []string {
	m := []string{
		"bash", "systemd", "systemd-initrd", "dracut-systemd", "base", "fs-lib", "kernel-modules", "rootfs-block", "udev-rules",
	}
	if f.FIPS {
		m = append(m, "fips")
	}
	return m
}

// drivers are the kernel modules that the guest's devices and file systems
// need, those that the kernel has as modules. In FIPS mode the kernel panics
// when one algorithm's self-test cannot run for want of a module, and tcrypt
// tests them all, so all of crypto goes in, as dracut does by itself where no
// list of drivers is given.
func (f Flavour) drivers(a arch.Arch, modulesDir string, have map[string]bool) []string {
	var out []string
	for _, name := range []string{
		"virtio", "virtio_ring", "virtio_pci", "virtio_mmio", "virtio_blk", "virtio_console", "virtio_rng",
		"ext4", "crc32c_generic", "crc32c_cryptoapi", "libcrc32c",
	} {
		if have[name] {
			out = append(out, name)
		}
	}
	if !f.FIPS {
		return out
	}
	for _, dir := range []string{"crypto", "arch/" + a.Facts().Source + "/crypto", "lib/crypto"} {
		if exists(filepath.Join(modulesDir, "kernel", dir)) {
			out = append(out, "="+dir)
		}
	}
	return out
}

// Dracut returns the initramfs that the root's own dracut makes for a kernel,
// an uncompressed cpio archive, building it first where it is missing. It
// holds no guest agent: see Overlay.
func Dracut(ctx context.Context, o Options, k Kernel, f Flavour) (string, error) {
	o, err := o.withDefaults()
	if err != nil {
		return "", err
	}
	what := fmt.Sprintf("%s initramfs of %s for %s", f, o.Release, k.Release)
	if err := k.check(); err != nil {
		return "", fmt.Errorf("build %s: %w", f, err)
	}
	if k.ModulesDir == "" {
		return "", fmt.Errorf("build %s: the kernel came without modules, which hold the disk's drivers: name its package or build tree", what)
	}
	if k.ModulesDir, err = filepath.Abs(k.ModulesDir); err != nil {
		return "", fmt.Errorf("build %s: %w", what, err)
	}
	scan, err := scanModules(k.ModulesDir)
	if err != nil {
		return "", fmt.Errorf("build %s: %w", what, err)
	}
	if k.ID == "" {
		k.ID = scan.id
	}
	tools, toolsID, err := guestTools(ctx, o.Arch, f)
	if err != nil {
		return "", fmt.Errorf("build %s: %w", what, err)
	}
	args := dracutArgs(k, f, f.drivers(o.Arch, k.ModulesDir, scan.names))
	key := cache.Key{Kind: "dracut", Inputs: []string{
		dracutVersion, o.rootKey().ID(), k.Release, k.ID, toolsID, strings.Join(args, " "),
	}}
	dir, err := o.Store.Get(ctx, key, func(ctx context.Context, dir string) error {
		if tools.helper, err = hostHelper(ctx); err != nil {
			return fmt.Errorf("build %s: %w", what, err)
		}
		return buildDracut(ctx, o, k, what, tools, args, dir)
	})
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, initramfsName), nil
}

const initramfsName = "initramfs.cpio"

// dracutArgs is dracut's command line (dracut(8)). The image is not
// compressed: TCG unpacks slower than it copies, and the agent's archive must
// follow it.
func dracutArgs(k Kernel, f Flavour, drivers []string) []string {
	return []string{
		"--force", "--no-hostonly", "--no-hostonly-cmdline", "--no-early-microcode", "--no-compress", "--reproducible",
		"--nofscks", "--kver", k.Release, "--tmpdir", "/tmp",
		"--modules", strings.Join(f.dracutModules(), " "),
		"--drivers", strings.Join(drivers, " "),
	}
}

// bothRoots returns the root that this machine's programs are in, and that of the image:
// the same where it is of this machine's architecture.
func bothRoots(ctx context.Context, o Options) (native, tree string, err error) {
	host := o
	if host.Arch = arch.Host(); host.Arch == "" {
		return "", "", errors.New("this machine's architecture has no root file system whose dracut it could run")
	}
	if host.Arch == o.Arch {
		tree, err = Root(ctx, o)
		return tree, tree, err
	}
	var g errgroup.Group
	g.Go(func() (err error) { native, err = Root(ctx, host); return err })
	g.Go(func() (err error) { tree, err = Root(ctx, o); return err })
	return native, tree, g.Wait()
}

func buildDracut(ctx context.Context, o Options, k Kernel, what string, tools tools, args []string, dir string) error {
	native, tree, err := bothRoots(ctx, o)
	if err != nil {
		return fmt.Errorf("build %s: %w", what, err)
	}
	task := progress.From(ctx).Task(what, 0)
	err = runDracut(ctx, task, o.Arch, k, native, tree, tools, args, dir)
	task.Done(err)
	if err != nil {
		return fmt.Errorf("build %s: %w", what, err)
	}
	return nil
}

func runDracut(ctx context.Context, task progress.Task, a arch.Arch, k Kernel, native, tree string, tools tools, args []string, dir string) error {
	if err := Buildable(ctx); err != nil {
		return err
	}
	work := filepath.Join(dir, "work")
	if err := os.Mkdir(work, 0o700); err != nil {
		return err
	}
	defer os.RemoveAll(work) // empty: what was mounted on it went with its namespace
	bin, err := os.MkdirTemp("", "unwedge-dracut-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(bin)
	helper, hmac := filepath.Join(bin, "helper"), ""
	if err := os.WriteFile(helper, tools.helper, 0o755); err != nil {
		return err
	}
	if tools.hmac != nil {
		hmac = filepath.Join(bin, "sha512hmac")
		if err := os.WriteFile(hmac, tools.hmac, 0o755); err != nil {
			return err
		}
	}
	out := filepath.Join(dir, initramfsName)
	all := append([]string{"build", native, tree, work, k.ModulesDir, k.Release, helper, hmac, out, "--"}, args...)
	if err := script(ctx, &logTail{task: task}, []string{"DRACUT_ARCH=" + string(a)}, all...); err != nil {
		return err
	}
	// In a user namespace dracut makes no device nodes. None are missed: the kernel has
	// /dev/console (usr/default_cpio_list), and systemd mounts devtmpfs before it uses any.
	return checkInitramfs(out, k, args)
}

// tools are the programs that go into the root before dracut runs.
type tools struct {
	helper []byte // ldd and ldconfig; runs on this machine's CPU
	hmac   []byte // runs in the guest; nil without FIPS
}

// guestTools returns the tools that end up in the image, and so decide it.
func guestTools(ctx context.Context, a arch.Arch, f Flavour) (t tools, id string, err error) {
	if !f.FIPS {
		return tools{}, "", nil
	}
	if t.hmac, err = guestbin.Binary(ctx, guestbin.Helper, a); err != nil {
		return tools{}, "", err
	}
	return t, fmt.Sprintf("%x", sha256.Sum256(t.hmac)), nil
}

// hostHelper returns ldd and ldconfig. They do not end up in the image; a change in what
// they find is a new dracutVersion.
func hostHelper(ctx context.Context) ([]byte, error) {
	host, err := arch.Parse(runtime.GOARCH)
	if err != nil {
		return nil, fmt.Errorf("this host: %w", err)
	}
	return guestbin.Binary(ctx, guestbin.Helper, host)
}

// maxModules bounds the files looked at below one ModulesDir.
const maxModules = 100_000

type moduleScan struct {
	names map[string]bool // with underscores, as in /proc/modules
	id    string
}

func scanModules(dir string) (moduleScan, error) {
	s := moduleScan{names: map[string]bool{}}
	h := sha256.New()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if files++; files > maxModules {
			return fmt.Errorf("more than %d files", maxModules)
		}
		stem, rest, ok := strings.Cut(d.Name(), ".ko")
		if d.IsDir() || !ok || !slices.Contains([]string{"", ".xz", ".zst", ".gz"}, rest) {
			return nil
		}
		s.names[strings.ReplaceAll(stem, "-", "_")] = true
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "%q %d %d\n", rel, info.Size(), info.ModTime().UnixNano())
		return nil
	})
	if err != nil {
		return s, fmt.Errorf("read modules in %s: %w", dir, err)
	}
	if len(s.names) == 0 {
		return s, fmt.Errorf("read modules in %s: %w", dir, errNoModules)
	}
	s.id = fmt.Sprintf("%x", h.Sum(nil))
	return s, nil
}

var errNoModules = errors.New("no kernel modules")
