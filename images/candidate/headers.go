package candidate

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/unwedge/unwedge/images/cache"
	"github.com/unwedge/unwedge/images/internal/mirror"
	"github.com/unwedge/unwedge/images/kernel"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// Headers are what modules for one kernel of the Debian archive are built with.
type Headers struct {
	// Dir is what `make -C` is given.
	Dir string
	// ID changes with the packages.
	ID string
}

// ArchiveHeaders fetches and unpacks linux-headers-RELEASE and what it needs to
// build modules: the headers that a kernel's flavours share, and kbuild's
// programs, which are for this host. Nothing is installed. version is the
// package's, "" the newest; suite "" means the default one. Options.Arch is
// needed. The packages are fetched once: the cache keeps them.
func ArchiveHeaders(ctx context.Context, release, version, suite string, opts Options) (Headers, error) {
	if opts.Cache == nil {
		store, err := cache.Default()
		if err != nil {
			return Headers{}, err
		}
		opts.Cache = store
	}
	name := "linux-headers-" + release
	spec, err := parseSpec(headersSpec(name, version, suite), opts.Arch)
	if err != nil {
		return Headers{}, err
	}
	host := arch.Host()
	if host == "" {
		return Headers{}, fmt.Errorf("fetch %s: Debian has kernel build programs for hosts of %s only", name, arch.List())
	}
	key := cache.Key{Kind: "headers", Inputs: []string{"1", spec.pkg, spec.version, spec.suite, string(spec.arch), string(host)}}
	dir, err := opts.Cache.Get(ctx, key, func(ctx context.Context, dir string) error {
		if err := fetchHeaders(ctx, dir, spec, host, opts); err != nil {
			return err
		}
		return relocateHeaders(filepath.Join(dir, "root", headersDir, name, "Makefile"))
	})
	if err != nil {
		return Headers{}, err
	}
	return Headers{Dir: filepath.Join(dir, "root", headersDir, name), ID: key.ID()}, nil
}

// FindHeaders finds what modules for a candidate are built with: HeadersDir, the
// build tree that it is, the header packages of the archive that it came from, or
// the link that an installed kernel has beside its modules. ID is empty where
// the files may change. That none are known is a *NotFoundError.
func (c *Candidate) FindHeaders(ctx context.Context, opts Options) (Headers, error) {
	if c.HeadersDir != "" {
		return Headers{Dir: c.HeadersDir}, checkHeaders(c.HeadersDir, c.Kernel.Arch)
	}
	if spec, ok := strings.CutPrefix(c.Origin, "deb:"); ok {
		spec, suite, _ := strings.Cut(spec, "@")
		_, version, _ := strings.Cut(spec, "=")
		opts.Arch = c.Kernel.Arch
		return ArchiveHeaders(ctx, c.Kernel.Release, version, suite, opts)
	}
	if isDir(c.Origin) {
		return Headers{Dir: c.Origin}, checkHeaders(c.Origin, c.Kernel.Arch)
	}
	if c.ModulesDir != "" {
		// Documentation/kbuild/modules.rst: /lib/modules/RELEASE/build.
		if build, err := filepath.EvalSymlinks(filepath.Join(c.ModulesDir, "build")); err == nil && checkHeaders(build, c.Kernel.Arch) == nil {
			return Headers{Dir: build}, nil
		}
	}
	return Headers{}, &NotFoundError{c.Origin, "it came without headers, which building a module needs: name its build tree or its deb: package instead, or the headers' directory with --headers"}
}

// checkHeaders makes sure that modules can be built with a directory: it has the
// kernel's Makefile and what a build, or `make modules_prepare`, makes.
func checkHeaders(dir string, a arch.Arch) error {
	for _, name := range []string{"Makefile", "include/generated/autoconf.h"} {
		if firstFile(filepath.Join(dir, name)) == "" {
			return &NotFoundError{dir, "modules cannot be built with it: it has no " + name + ": is the kernel built there?"}
		}
	}
	cfg, err := kernel.ReadConfig(filepath.Join(dir, ".config"))
	if err != nil {
		return err
	}
	option := a.Facts().Option
	if cfg.Get(option) != "y" {
		return &NotFoundError{dir, "modules for " + string(a) + " cannot be built with it: it is configured without " + option}
	}
	return nil
}

// headersDir is where the packages put headers.
const headersDir = "usr/src"

func headersSpec(name, version, suite string) string {
	if version != "" {
		name += "=" + version
	}
	if suite != "" {
		name += "@" + suite
	}
	return name
}

// The packages that headers need: linux-headers-6.1.0-50-common, in the same
// version, and linux-kbuild-6.1, in that or a later one.
var (
	commonRE = regexp.MustCompile(`(?:^|,)\s*(linux-headers-[a-z0-9+.~-]+-common)(?::\w+)?\s*\(=\s*([^)\s]+)\s*\)`)
	kbuildRE = regexp.MustCompile(`(?:^|,)\s*(linux-kbuild-[a-z0-9+.~-]+)`)
)

func fetchHeaders(ctx context.Context, dir string, spec archiveSpec, host arch.Arch, opts Options) error {
	flavour, debs, clean, err := fetchPackages(ctx, spec, opts, func(flavour debPackage) []dependency {
		if m := commonRE.FindStringSubmatch(flavour.Depends); m != nil {
			return []dependency{{m[1], m[2]}}
		}
		return nil
	})
	if err != nil {
		return err
	}
	defer clean()
	m := kbuildRE.FindStringSubmatch(flavour.Depends)
	if m == nil {
		return fmt.Errorf("package %s %s: it names no linux-kbuild package, which building modules needs", flavour.Name, flavour.Version)
	}
	tools := archiveSpec{pkg: m[1], suite: spec.suite, arch: host}
	_, programs, cleanTools, err := fetchPackages(ctx, tools, opts, nil)
	if err != nil {
		return err
	}
	defer cleanTools()
	return extractAll(ctx, dir, extractDeb, append(debs, programs...)...)
}

// fetchPackages downloads a package of the archive and those that more names.
func fetchPackages(ctx context.Context, spec archiveSpec, opts Options, more func(debPackage) []dependency) (first debPackage, debs []string, clean func(), err error) {
	archive, err := mirror.Find(opts.Mirror, spec.suite, cmp.Or(opts.aptSources, mirror.AptSources))
	if err != nil {
		return first, nil, nil, err
	}
	a := newApt(opts, archive, spec)
	unlock, err := lockDir(ctx, a.dir)
	if err != nil {
		return first, nil, nil, err
	}
	defer unlock()
	if err := a.update(ctx, opts.Refresh); err != nil {
		return first, nil, nil, err
	}
	if first, err = a.show(ctx, spec.pkg, spec.version); err != nil {
		return first, nil, nil, err
	}
	pkgs := []debPackage{first}
	if more != nil {
		for _, d := range more(first) {
			p, err := a.show(ctx, d.name, d.version)
			if err != nil {
				return first, nil, nil, fmt.Errorf("%s needs it: %w", first.Name, err)
			}
			pkgs = append(pkgs, p)
		}
	}
	debs, clean, err = a.download(ctx, pkgs)
	return first, debs, clean, err
}

// relocateHeaders lets the Makefile find the shared headers beside its own
// directory, wherever that is; the package has them at a fixed place.
func relocateHeaders(makefile string) error {
	b, err := os.ReadFile(makefile)
	if err != nil {
		return fmt.Errorf("prepare kernel headers: %w", err)
	}
	b = bytes.ReplaceAll(b, []byte("/"+headersDir+"/"), []byte("../"))
	if !strings.Contains(string(b), "../linux-headers-") {
		return fmt.Errorf("prepare kernel headers: %s does not include the shared ones as expected", filepath.Base(filepath.Dir(makefile)))
	}
	if err := os.WriteFile(makefile, b, 0o644); err != nil {
		return fmt.Errorf("prepare kernel headers: %w", err)
	}
	return nil
}
