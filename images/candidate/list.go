package candidate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/unwedge/unwedge/images/cache"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// PackageVersion is one kernel that somebody released: one version of a
// package, or a kernel file that was kept.
type PackageVersion struct {
	// Package is the package's name, or the file's where it is no package.
	Package string `json:"package"`
	// Version is the package's own, such as 7.3.4-1~bpo13+1. Of a kernel
	// file it is what its banner says, or else the release.
	Version string `json:"version"`
	// Upstream is the kernel version in Version.
	Upstream Upstream `json:"kernel"`
	// Release is what `uname -r` says.
	Release string    `json:"release"`
	Arch    arch.Arch `json:"arch"`
	// Flavour distinguishes kernels of one version: amd64, cloud-amd64,
	// rt-amd64. It is "" where the release names none.
	Flavour string `json:"flavour"`
	// Suite is where the archive has it, "" for a file.
	Suite string `json:"suite,omitempty"`
	// Arg is what Resolve takes.
	Arg string `json:"arg"`
	// Lacks are packages with its modules or configuration that are not there:
	// it boots, with nothing that needs modules.
	Lacks []string `json:"lacks,omitempty"`
	// Bare says that a file has no modules beside it.
	Bare bool `json:"bare,omitempty"`
	// Size of all files to fetch or read, in bytes.
	Size int64 `json:"size"`
	// Changed is when one of the files was changed last; zero in an archive.
	Changed time.Time `json:"-"`
}

// Listing is what ListPackages found.
type Listing struct {
	// Pattern is what was asked for.
	Pattern string
	// Packages are in the order of their kernel versions, oldest first.
	Packages []PackageVersion
	// Notes say what may be missing and why, each in one line.
	Notes []string
}

// Flavours are the flavours that there are, sorted.
func (l *Listing) Flavours() []string {
	var out []string
	for _, p := range l.Packages {
		out = append(out, p.Flavour)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (l *Listing) note(format string, args ...any) {
	l.Notes = append(l.Notes, fmt.Sprintf(format, args...))
}

const listUsage = "want deb:NAME[@SUITE,...] where NAME may have wildcards, dir:DIRECTORY, or a file pattern such as ./*.deb"

// ListPackages finds the released kernels that pattern names:
//
//	deb:NAME[@SUITE,...]  image packages of the Debian archive. NAME may have
//	                      wildcards, or be a metapackage, which stands for all
//	                      packages of its flavour. Without suites, all that are
//	                      known to hold kernels.
//	dir:DIR, or a directory  packages, kernel files and build trees in it
//	PATTERN               files, with wildcards: ./*.deb
//
// Metapackages, debug packages and unsigned copies of signed ones are left out, and
// so are packages whose kernel is gone. A suite or file that cannot be read is a note, as
// long as there is another; nothing found gives a *NotFoundError.
func ListPackages(ctx context.Context, pattern string, opts Options) (*Listing, error) {
	if opts.Cache == nil {
		store, err := cache.Default()
		if err != nil {
			return nil, err
		}
		opts.Cache = store
	}
	l := &Listing{Pattern: pattern}
	var err error
	if spec, ok := strings.CutPrefix(pattern, "deb:"); ok {
		err = l.archive(ctx, spec, opts)
	} else {
		err = l.files(ctx, pattern, opts)
	}
	if err != nil {
		return nil, err
	}
	slices.SortFunc(l.Packages, comparePackages)
	return l, nil
}

// files lists packages and kernels on disk.
func (l *Listing) files(ctx context.Context, pattern string, opts Options) error {
	dir, isDirArg := strings.CutPrefix(pattern, "dir:")
	paths, err := filesOf(dir, isDirArg)
	if err != nil {
		return err
	}
	for _, path := range paths {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		p, err := describeFile(ctx, path, opts)
		switch {
		case errors.Is(err, errNoImage):
			continue
		case err != nil:
			l.note("%s is left out: %v", filepath.Base(path), err)
		case opts.Arch != "" && p.Arch != opts.Arch:
			l.note("%s is left out: it is for %s, not %s", filepath.Base(path), p.Arch, opts.Arch)
		default:
			l.Packages = append(l.Packages, p)
		}
	}
	all := l.Packages
	l.Packages = slices.DeleteFunc(slices.Clone(all), func(p PackageVersion) bool {
		signed, ok := strings.CutSuffix(p.Package, unsignedSuffix)
		return ok && slices.ContainsFunc(all, func(q PackageVersion) bool { return q.Package == signed && q.Version == p.Version })
	})
	if len(l.Packages) == 0 {
		reason := "it holds no kernel image package and no kernel file"
		if len(l.Notes) > 0 {
			reason += ": " + l.Notes[0]
		}
		return &NotFoundError{pattern, reason}
	}
	return nil
}

const maxFiles = 4096

func filesOf(pattern string, isDirArg bool) ([]string, error) {
	st, err := os.Stat(pattern)
	switch {
	case err == nil && st.IsDir():
		entries, err := os.ReadDir(pattern)
		if err != nil {
			return nil, fmt.Errorf("list kernels: %w", err)
		}
		var paths []string
		for _, e := range entries {
			paths = append(paths, filepath.Join(pattern, e.Name()))
		}
		return bounded(pattern, paths)
	case isDirArg:
		return nil, &NotFoundError{"dir:" + pattern, "not a directory"}
	case err == nil:
		return []string{pattern}, nil
	}
	paths, err := filepath.Glob(pattern)
	if err != nil {
		return nil, &NotFoundError{pattern, "not a valid pattern: " + listUsage}
	}
	if len(paths) == 0 {
		return nil, &NotFoundError{pattern, "no such file: " + listUsage}
	}
	return bounded(pattern, paths)
}

func bounded(pattern string, paths []string) ([]string, error) {
	if len(paths) > maxFiles {
		return nil, &NotFoundError{pattern, fmt.Sprintf("%d files: name a directory with at most %d kernels", len(paths), maxFiles)}
	}
	return paths, nil
}

// versionPart is a part of a release that belongs to its version: 0.deb11.21,
// 50, rc3, g0123abc.
var versionPart = regexp.MustCompile(`^(\d+(\.[a-z0-9_.]+)?|rc\d+\S*|g[0-9a-f]{7,}|dirty|trunk)$`)

// flavourOf reads the flavour off a release: cloud-amd64 of
// 6.1.0-50-cloud-amd64, arm64-16k of 6.12.43+deb13-arm64-16k.
func flavourOf(release string) string {
	parts := strings.Split(release, "-")[1:]
	for len(parts) > 0 && versionPart.MatchString(parts[0]) {
		parts = parts[1:]
	}
	return strings.Join(parts, "-")
}

// LacksModules says whether the kernel's modules are known to be gone.
func (p PackageVersion) LacksModules() bool {
	return slices.ContainsFunc(p.Lacks, func(name string) bool {
		return strings.HasPrefix(name, "linux-modules-") || strings.HasSuffix(name, rpmModules[0])
	})
}
