package candidate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/unwedge/unwedge/images/cache"
	"github.com/unwedge/unwedge/images/kernel"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// errNoImage says that a file has its place beside kernels and is none.
var errNoImage = errors.New("not a kernel image")

// besideKernels are files that lie where kernels are kept: those of /boot, of a
// package build, and what `unwedge mutate` writes.
var besideKernels = regexp.MustCompile(`^(config|System\.map|initrd|initramfs|vmlinux-gdb)\b|\.(json|txt|log|md|yaml|config|dsc|changes|buildinfo|hmac|modules|tar|gz|xz|zst|asc|sig)$|^\.`)

// describeFile says which released kernel a file is: a package, by what it says
// of itself, a kernel, by its bytes, or a directory that one was built in.
func describeFile(ctx context.Context, path string, opts Options) (PackageVersion, error) {
	st, err := os.Stat(path)
	if err != nil {
		return PackageVersion{}, fmt.Errorf("open kernel: %w", err)
	}
	if path, err = filepath.Abs(path); err != nil {
		return PackageVersion{}, fmt.Errorf("open kernel: %w", err)
	}
	if !st.IsDir() && (!st.Mode().IsRegular() || besideKernels.MatchString(filepath.Base(path))) {
		return PackageVersion{}, errNoImage
	}
	var head [8]byte
	if !st.IsDir() {
		err = readHead(path, head[:])
	}
	if err != nil {
		return PackageVersion{}, fmt.Errorf("open kernel: %w", err)
	}
	p, store := PackageVersion{Arg: path, Size: st.Size(), Changed: st.ModTime()}, opts.Cache
	switch {
	case st.IsDir():
		err = p.fromTree(ctx, path, opts)
	case string(head[:]) == arMagic:
		err = p.fromDeb(ctx, path)
	case bytes.HasPrefix(head[:], []byte(rpmMagic)):
		err = p.fromRPM(ctx, path, store)
	default:
		err = p.fromKernel(ctx, path, store)
	}
	if err != nil {
		return PackageVersion{}, err
	}
	var ok bool
	if p.Upstream, ok = ParseUpstream(p.Version); !ok {
		return PackageVersion{}, fmt.Errorf("%q does not start with a kernel version", p.Version)
	}
	p.Flavour = flavourOf(p.Release)
	return p, nil
}

func readHead(path string, head []byte) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.ReadFull(f, head); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

func (p *PackageVersion) fromDeb(ctx context.Context, path string) error {
	deb, debArch, err := readControl(ctx, path)
	if err != nil {
		return err
	}
	signed := strings.TrimSuffix(deb.Name, unsignedSuffix)
	if !isImage(signed) || isMeta(signed) {
		return errNoImage
	}
	parts := withParts(ctx, path)
	if len(parts.gone) > 0 {
		return fmt.Errorf("the package with its kernel is missing: %s", some(parts.gone))
	}
	p.Lacks = parts.lacks
	if err := p.sizeOf(parts.files); err != nil {
		return err
	}
	for _, a := range arch.All() {
		if a.Facts().Debian == debArch {
			p.Arch = a
		}
	}
	if p.Arch == "" {
		return fmt.Errorf("it is for %q", debArch)
	}
	p.Package, p.Version, p.Release = deb.Name, deb.Version, strings.TrimPrefix(signed, imagePrefix)
	return nil
}

// rpmKernel names the packages that hold a kernel: Fedora's kernel-core and
// its flavours', SUSE's kernel-default, and what `make rpm-pkg` makes.
var rpmKernel = regexp.MustCompile(`^kernel((-[a-z0-9]+)*-core|-default|-vanilla)?$`)

// fromRPM takes name and version from the package's lead, and the rest from the
// kernel in it.
func (p *PackageVersion) fromRPM(ctx context.Context, path string, store *cache.Store) error {
	name, version, err := rpmName(path)
	if err != nil {
		return err
	}
	if !rpmKernel.MatchString(name) || strings.Contains(name, "-modules") {
		return errNoImage
	}
	c, err := resolvePackage(ctx, path, extractRPM, Options{Cache: store})
	if err != nil {
		return err
	}
	p.Package, p.Version, p.Release, p.Arch, p.Lacks = name, version, c.Kernel.Release, c.Kernel.Arch, c.Lacks
	return p.sizeOf(withRPMParts(path).files)
}

// sizeOf adds the files up, and finds the latest change.
func (p *PackageVersion) sizeOf(files []string) error {
	p.Size, p.Changed = 0, time.Time{}
	for _, f := range files {
		st, err := os.Stat(f)
		if err != nil {
			return fmt.Errorf("open package: %w", err)
		}
		p.Size += st.Size()
		if st.ModTime().After(p.Changed) {
			p.Changed = st.ModTime()
		}
	}
	return nil
}

// fromTree is for a tree that a kernel was built in.
func (p *PackageVersion) fromTree(ctx context.Context, dir string, opts Options) error {
	if !slices.ContainsFunc(treeKernels, func(name string) bool {
		return strings.Contains(name, "/") && firstFile(filepath.Join(dir, name)) != ""
	}) {
		return errNoImage
	}
	k, err := treeKernel(ctx, dir, opts)
	var bad *kernel.BadKernelError
	switch {
	case errors.As(err, &bad):
		return errors.New(bad.Reason)
	case err != nil:
		return err
	}
	p.Package, p.Version, p.Release, p.Arch = filepath.Base(dir), k.Release, k.Release, k.Arch
	order, err := modulesOrder(dir)
	if err != nil {
		return err
	}
	p.Bare = len(order) == 0
	return p.sizeOf([]string{k.Path})
}

// debianBanner is the package's version in a Debian kernel's banner.
var debianBanner = regexp.MustCompile(` Debian (\d[A-Za-z0-9.+~-]*) \(\d{4}-\d\d-\d\d\)$`)

func (p *PackageVersion) fromKernel(ctx context.Context, path string, store *cache.Store) error {
	k, err := keepFile(ctx, path, store)
	var bad *kernel.BadKernelError
	switch {
	case errors.As(err, &bad):
		return errors.New(bad.Reason)
	case err != nil:
		return err
	}
	p.Package, p.Version, p.Release, p.Arch = filepath.Base(path), k.Release, k.Release, k.Arch
	p.Bare = fileCandidate(path, k).ModulesDir == ""
	if m := debianBanner.FindStringSubmatch(k.Banner); m != nil {
		p.Version = m[1]
	}
	return nil
}
