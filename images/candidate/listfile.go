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
	"strings"

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
// of itself, or a kernel, by its bytes.
func describeFile(ctx context.Context, path string, store *cache.Store) (PackageVersion, error) {
	st, err := os.Stat(path)
	if err != nil {
		return PackageVersion{}, fmt.Errorf("open kernel: %w", err)
	}
	if path, err = filepath.Abs(path); err != nil {
		return PackageVersion{}, fmt.Errorf("open kernel: %w", err)
	}
	if !st.Mode().IsRegular() || besideKernels.MatchString(filepath.Base(path)) {
		return PackageVersion{}, errNoImage
	}
	var head [8]byte
	if err := readHead(path, head[:]); err != nil {
		return PackageVersion{}, fmt.Errorf("open kernel: %w", err)
	}
	p := PackageVersion{Arg: path, Size: st.Size()}
	switch {
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
		return PackageVersion{}, fmt.Errorf("%q starts with no kernel version", p.Version)
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
	if !isImage(deb.Name) || isMeta(deb.Name) {
		return errNoImage
	}
	parts := withParts(ctx, path)
	if len(parts.gone) > 0 {
		return fmt.Errorf("its kernel is not beside it: %s", some(parts.gone))
	}
	p.Size, p.Lacks = 0, parts.lacks
	for _, f := range parts.files {
		st, err := os.Stat(f)
		if err != nil {
			return fmt.Errorf("open package: %w", err)
		}
		p.Size += st.Size()
	}
	for _, a := range arch.All() {
		if a.Facts().Debian == debArch {
			p.Arch = a
		}
	}
	if p.Arch == "" {
		return fmt.Errorf("it is for %q", debArch)
	}
	p.Package, p.Version, p.Release = deb.Name, deb.Version, strings.TrimPrefix(deb.Name, imagePrefix)
	return nil
}

// rpmKernel names the packages that hold a kernel: Fedora's kernel-core and
// its flavours', SUSE's kernel-default, and what `make rpm-pkg` makes.
var rpmKernel = regexp.MustCompile(`^kernel((-[a-z0-9]+)*-core|-default|-vanilla)?$`)

// fromRPM takes name and version from the package's lead, the 66 bytes at 10
// (RPM's "Package format" document), and the rest from the kernel in it.
func (p *PackageVersion) fromRPM(ctx context.Context, path string, store *cache.Store) error {
	var lead [rpmLead]byte
	if err := readHead(path, lead[:]); err != nil {
		return fmt.Errorf("open package: %w", err)
	}
	full, _, _ := bytes.Cut(lead[10:76], []byte{0})
	name, version, ok := splitRPMName(string(full))
	if !ok {
		return errors.New("its lead names no package and version")
	}
	if !rpmKernel.MatchString(name) || strings.Contains(name, "-modules") {
		return errNoImage
	}
	c, err := resolvePackage(ctx, path, extractRPM, Options{Cache: store})
	if err != nil {
		return err
	}
	p.Package, p.Version, p.Release, p.Arch = name, version, c.Kernel.Release, c.Kernel.Arch
	return nil
}

// splitRPMName splits NAME-VERSION-RELEASE.
func splitRPMName(s string) (name, version string, ok bool) {
	i := strings.LastIndexByte(s, '-')
	if i <= 0 {
		return "", "", false
	}
	j := strings.LastIndexByte(s[:i], '-')
	if j <= 0 {
		return "", "", false
	}
	return s[:j], s[j+1:], true
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
	if m := debianBanner.FindStringSubmatch(k.Banner); m != nil {
		p.Version = m[1]
	}
	return nil
}
