// Package rootfs builds the distribution user space that a kernel is booted
// into: a Debian root tree for each architecture, the ext4 image of it, the
// dracut and dracut-fips initramfs that the tree's own dracut makes for one
// kernel, and the boot disk whose kernel checksum the FIPS initramfs checks.
//
// Everything is kept in the content-addressed cache. The root and the ext4
// image do not depend on a kernel: the initramfs loads all modules that the
// guest needs. Nothing depends on the guest agent, which Overlay adds to the
// initramfs as a second cpio archive and which reaches the root file system
// through /run.
package rootfs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/unwedge/unwedge/images/cache"
	"github.com/unwedge/unwedge/images/internal/mirror"
	"github.com/unwedge/unwedge/images/progress"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// Suite is the Debian suite whose user space is used by default: systemd 252,
// dracut 059 and libgcrypt 1.10, which libsystemd is linked against.
const Suite = "bookworm"

// Versions of what the code here does to an image; raised with each change
// that alters the result, so that no stale image is used.
const (
	rootVersion   = "1"
	ext4Version   = "1"
	dracutVersion = "1"
	bootVersion   = "1"
)

// ErrNotRoot says that the image cannot be built without root: the tree has
// files of several owners, and dracut makes device nodes.
var ErrNotRoot = errors.New("run as root once to build it; boots from the cache need no root")

// Options say which user space to build and where to keep it.
type Options struct {
	// Arch is the guest's architecture.
	Arch arch.Arch
	// Suite is the Debian suite, "" for the constant Suite.
	Suite string
	// Mirror is the Debian archive's address, "" for the one that the host's
	// apt sources name.
	Mirror string
	// Store is the cache, nil for the user's default one.
	Store *cache.Store
}

func (o Options) withDefaults() (Options, error) {
	if !o.Arch.Valid() {
		return o, fmt.Errorf("build root file system: unknown architecture %q", o.Arch)
	}
	o.Suite = cmp.Or(o.Suite, Suite)
	if strings.ContainsAny(o.Suite, "/ \t\n") || strings.HasPrefix(o.Suite, "-") {
		return o, fmt.Errorf("build root file system: suite %q is not one word", o.Suite)
	}
	if o.Store == nil {
		store, err := cache.Default()
		if err != nil {
			return o, err
		}
		o.Store = store
	}
	return o, nil
}

// packages is what the root file system is made of. The initramfs is made from
// it too, so it holds dracut and what dracut's modules copy.
func packages() []string {
	return []string{
		"base-files", "base-passwd", "bash", "coreutils", "cpio", "dash", "dracut-core",
		"e2fsprogs", "findutils", "grep", "gzip", "kmod", "libc-bin", "login", "mawk",
		"mount", "procps", "sed", "systemd", "systemd-sysv", "udev", "util-linux",
	}
}

// excluded is what is left out of the packages when they are unpacked: files
// that nothing in the guest reads.
func excluded() []string {
	return []string{
		"/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*",
		"/usr/share/lintian/*", "/usr/share/bug/*", "/usr/share/bash-completion/*", "/usr/share/zsh/*",
		"/usr/lib/*/gconv/*", "/usr/lib/*/perl-base/*", "/usr/lib/udev/hwdb.d/*", "/lib/udev/hwdb.d/*",
	}
}

func (o Options) rootKey() cache.Key {
	return cache.Key{Kind: "root", Inputs: []string{
		rootVersion, string(o.Arch), o.Suite, strings.Join(packages(), " "), strings.Join(excluded(), " "), fixupsID(),
	}}
}

// Root returns the directory of the unpacked root tree, building it first
// where it is missing. The tree must not be written to.
func Root(ctx context.Context, o Options) (string, error) {
	o, err := o.withDefaults()
	if err != nil {
		return "", err
	}
	dir, err := o.Store.Get(ctx, o.rootKey(), func(ctx context.Context, dir string) error {
		return buildRoot(ctx, o, filepath.Join(dir, treeName))
	})
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, treeName), nil
}

// Tree returns Root's directory if the cache has it.
func Tree(o Options) (dir string, ok bool) {
	o, err := o.withDefaults()
	if err != nil {
		return "", false
	}
	dir, ok = o.Store.Lookup(o.rootKey())
	return filepath.Join(dir, treeName), ok
}

const treeName = "tree"

// keyring is where Debian's debian-archive-keyring package puts the archive's
// keys.
const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

func buildRoot(ctx context.Context, o Options, tree string) (err error) {
	what := fmt.Sprintf("root file system, Debian %s %s", o.Suite, o.Arch.Facts().Debian)
	task := progress.From(ctx).Task(what, 0)
	defer func() { task.Done(err) }()
	if os.Geteuid() != 0 {
		return fmt.Errorf("build %s: %w", what, ErrNotRoot)
	}
	if err := need("mmdebstrap", "unshare"); err != nil {
		return fmt.Errorf("build %s: %w", what, err)
	}
	if _, err := os.Stat(keyring); err != nil {
		return fmt.Errorf("build %s: no Debian archive keys at %s: install debian-archive-keyring", what, keyring)
	}
	if o.Mirror, err = mirror.Find(o.Mirror, o.Suite, mirror.AptSources); err != nil {
		return fmt.Errorf("build %s: %w", what, err)
	}
	args := []string{
		"--mode=root", "--variant=extract", "--format=directory", "--arch=" + o.Arch.Facts().Debian,
		"--include=" + strings.Join(packages(), ","), "--keyring=" + keyring,
		`--aptopt=APT::Install-Recommends "false"`,
		`--setup-hook=` + mergedUsrHook,
	}
	for _, pattern := range excluded() {
		args = append(args, "--dpkgopt=path-exclude="+pattern)
	}
	args = append(args, o.Suite, tree, o.Mirror)
	// What mmdebstrap leaves when it is killed goes with the unfinished entry.
	tmp := filepath.Join(filepath.Dir(tree), "tmp")
	if err := os.Mkdir(tmp, 0o777); err != nil {
		return fmt.Errorf("build %s: %w", what, err)
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o777|os.ModeSticky); err != nil { // despite the umask
		return fmt.Errorf("build %s: %w", what, err)
	}
	if err := containedEnv(ctx, task, []string{"TMPDIR=" + tmp}, "mmdebstrap", args...); err != nil {
		return fmt.Errorf("build %s: %w", what, err)
	}
	task.Note("set up")
	if err := fixTree(tree); err != nil {
		return fmt.Errorf("build %s: %w", what, err)
	}
	if err := chroot(ctx, task, o.Arch, "ldconfig", tree); err != nil {
		return fmt.Errorf("build %s: %w", what, err)
	}
	return nil
}

// mergedUsrHook makes /bin, /sbin, /lib and /lib64 links into /usr before the
// packages are unpacked, which is what Debian 12 systems have.
const mergedUsrHook = `for d in bin sbin lib lib64; do mkdir -p "$1/usr/$d"; ln -s "usr/$d" "$1/$d"; done`

// Ext4Label is the label of the root file system's image.
const Ext4Label = "unwedge-root"

// ext4Size is the size of the root image; it is sparse, and a guest writes to
// a snapshot of it.
const ext4Size = "512M"

// Ext4 returns the raw, sparse ext4 image of the root tree, building it first
// where it is missing. It is shared by all kernels, so a guest must write to a
// snapshot of it.
func Ext4(ctx context.Context, o Options) (string, error) {
	o, err := o.withDefaults()
	if err != nil {
		return "", err
	}
	const name = "root.ext4"
	key := cache.Key{Kind: "ext4", Inputs: []string{ext4Version, o.rootKey().ID(), ext4Size}}
	dir, err := o.Store.Get(ctx, key, func(ctx context.Context, dir string) (err error) {
		tree, err := Root(ctx, o)
		if err != nil {
			return err
		}
		task := progress.From(ctx).Task("root disk, "+string(o.Arch), 0)
		defer func() { task.Done(err) }()
		return makeExt4(ctx, task, filepath.Join(dir, name), tree, Ext4Label, ext4Size)
	})
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, name), nil
}

// makeExt4 fills a new file system from a directory, without mounting it. It
// has no journal: the guest's writes are thrown away.
func makeExt4(ctx context.Context, task progress.Task, image, from, label, size string) error {
	if err := need("mke2fs"); err != nil {
		return fmt.Errorf("build disk %s: %w", label, err)
	}
	err := contained(ctx, task, "mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-L", label,
		"-O", "^has_journal,^metadata_csum,^resize_inode", "-m", "0", "-E", "lazy_itable_init=1,root_owner=0:0",
		"-d", from, image, size)
	if err != nil {
		return fmt.Errorf("build disk %s: %w", label, err)
	}
	return nil
}

// exists says whether something is at path; an error other than absence counts
// as presence, and shows when it is used.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
