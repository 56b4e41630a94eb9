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
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/unwedge/unwedge/images/cache"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/images/progress"
	"github.com/unwedge/unwedge/scenarios/arch"
	"github.com/unwedge/unwedge/scenarios/release"
)

// Versions of what the code here does to an image; raised with each change
// that alters the result, so that no stale image is used.
const (
	rootVersion   = "2"
	ext4Version   = "1"
	dracutVersion = "2"
	bootVersion   = "1"
)

// Options say which user space to build and where to keep it.
type Options struct {
	// Arch is the guest's architecture.
	Arch arch.Arch
	// Release is the distribution release whose user space it is, "" for the default.
	Release release.Release
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
	if !o.Release.Valid() {
		return o, fmt.Errorf("build root file system: no images of release %q: use %s", o.Release, release.List())
	}
	o.Release = o.Release.OrDefault()
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
func (o Options) packages() []string {
	return append([]string{
		"base-files", "base-passwd", "bash", "coreutils", "cpio", "dash", "dracut-core",
		"e2fsprogs", "findutils", "grep", "gzip", "kmod", "libc-bin", "login", "mawk",
		"mount", "procps", "sed", "systemd", "systemd-sysv", "udev", "util-linux",
	}, o.Release.Facts().Packages...)
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
		rootVersion, string(o.Arch), o.Release.Facts().Suite, strings.Join(o.packages(), " "), strings.Join(excluded(), " "), fixupsID(),
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

// buildRoot unpacks the release's packages. No program of theirs is run, so that it
// takes no root, and no emulator for another architecture.
func buildRoot(ctx context.Context, o Options, tree string) error {
	fail := func(err error) error {
		return fmt.Errorf("build root file system, Debian %s %s: %w", o.Release, o.Arch.Facts().Debian, err)
	}
	if err := os.Mkdir(tree, 0o755); err != nil {
		return fail(err)
	}
	set := candidate.RootSet{Suite: o.Release.Facts().Suite, Packages: o.packages(), Exclude: excluded()}
	if err := candidate.ArchiveRoot(ctx, tree, set, candidate.Options{Arch: o.Arch, Mirror: o.Mirror, Cache: o.Store}); err != nil {
		return fail(err)
	}
	if err := fixTree(tree); err != nil {
		return fail(err)
	}
	return nil
}

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
		task := progress.From(ctx).Task(fmt.Sprintf("root disk, %s %s", o.Release, o.Arch), 0)
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
	err := contained(ctx, &logTail{task: task}, nil, "mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-L", label,
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
