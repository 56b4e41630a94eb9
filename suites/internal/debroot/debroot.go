// Package debroot unpacks packages of a Debian release, with all that they depend on,
// into a directory of the cache. Nothing in it is configured: it is for programs that
// run from files alone, as QEMU does.
package debroot

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/unwedge/unwedge/images/cache"
	"github.com/unwedge/unwedge/images/progress"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// version is raised with each change here that alters what a root holds.
const version = "1"

// Spec says what to unpack.
type Spec struct {
	// Release is the Debian release, such as "bookworm".
	Release string
	// Arch is the packages' architecture. A foreign one needs arch-test.
	Arch arch.Arch
	// Packages are unpacked with their dependencies, without what they recommend.
	Packages []string
	// Programs, of this machine's architecture, are made to run from here, outside of the
	// root, with the root's own loader and libraries. It takes patchelf.
	Programs []string
	// Expired accepts lists of packages whose date of expiry has passed, as those of
	// a snapshot of sid have. Their signatures are checked all the same.
	Expired bool
}

// keyring is from the package debian-archive-keyring.
const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// mergedUsr makes /bin, /sbin, /lib and /lib64 links into /usr, as Debian has them,
// before anything is unpacked.
const mergedUsr = `for d in bin sbin lib lib64; do mkdir -p "$1/usr/$d"; ln -s "usr/$d" "$1/$d"; done`

// Get returns the root's directory, making it first where the cache has none. The
// mirror is $UNWEDGE_DEBIAN_MIRROR, or Debian's own. It needs root, as mmdebstrap does.
func Get(ctx context.Context, store *cache.Store, s Spec) (string, error) {
	mirror := os.Getenv("UNWEDGE_DEBIAN_MIRROR")
	if mirror == "" {
		mirror = "http://deb.debian.org/debian"
	}
	packages := slices.Sorted(slices.Values(s.Packages))
	inputs := append([]string{version, s.Release, string(s.Arch), strings.Join(packages, " ")}, s.Programs...)
	key := cache.Key{Kind: "debroot", Inputs: inputs}
	final := filepath.Join(store.Dir(), filepath.FromSlash(key.ID()), "root")
	_, err := store.Get(ctx, key, func(ctx context.Context, dir string) (err error) {
		task := progress.From(ctx).Task(fmt.Sprintf("Debian %s %s with %s", s.Release, s.Arch.Facts().Debian, strings.Join(packages, ", ")), 0)
		defer func() { task.Done(err) }()
		root := filepath.Join(dir, "root")
		if err := unpack(ctx, s, packages, mirror, root); err != nil {
			return fmt.Errorf("unpack Debian %s for %s: %w", s.Release, s.Arch, err)
		}
		for _, p := range s.Programs {
			if err := relocate(ctx, s.Arch, root, final, p); err != nil {
				return fmt.Errorf("make %s of Debian %s run here: %w", p, s.Release, err)
			}
		}
		return nil
	})
	return final, err
}

func unpack(ctx context.Context, s Spec, packages []string, mirror, root string) error {
	args := []string{
		// All that was mounted ends with the namespaces.
		"--mount", "--propagation=private", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", "--",
		"mmdebstrap", "--quiet", "--mode=root", "--variant=extract", "--format=directory",
		"--arch=" + s.Arch.Facts().Debian, "--include=" + strings.Join(packages, ","), "--keyring=" + keyring,
		`--aptopt=APT::Install-Recommends "false"`, "--setup-hook=" + mergedUsr,
	}
	for _, p := range []string{"doc", "man", "info", "locale", "lintian", "bug"} {
		args = append(args, "--dpkgopt=path-exclude=/usr/share/"+p+"/*")
	}
	if s.Expired {
		args = append(args, `--aptopt=Acquire::Check-Valid-Until "false"`)
	}
	cmd := exec.CommandContext(ctx, "unshare", append(args, s.Release, root, mirror)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TMPDIR="+filepath.Dir(root))
	return run(cmd)
}

// relocate gives a program in root the loader that will be in final, and has it look
// for libraries beside itself first. QEMU finds its own files by where it lies
// (softmmu/cutils: get_relocated_path).
func relocate(ctx context.Context, a arch.Arch, root, final, program string) error {
	libs := filepath.Join("usr/lib", a.Facts().Multiarch)
	found, err := filepath.Glob(filepath.Join(root, libs, "ld-linux*.so.*"))
	if err != nil {
		return err
	}
	if len(found) != 1 {
		return fmt.Errorf("%d loaders in %s, want one", len(found), libs)
	}
	return run(exec.CommandContext(ctx, "patchelf",
		"--set-interpreter", filepath.Join(final, libs, filepath.Base(found[0])),
		"--force-rpath", "--set-rpath", "$ORIGIN/../lib/"+a.Facts().Multiarch,
		filepath.Join(root, "usr/bin", program)))
}

func run(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = 5 * time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("run %s: %w: %s", filepath.Base(cmd.Path), err, lastLine(out))
	}
	return nil
}

func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}
