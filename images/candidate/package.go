package candidate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/images/cache"
	"github.com/unwedge/unwedge/images/kernel"
	"github.com/unwedge/unwedge/images/progress"
)

// extractor writes what a kernel package holds of kernels and modules below
// the unpacker's root. The file is read once, from its start to its end.
type extractor func(ctx context.Context, path string, out *unpacker) error

// PackageError says in one line what is wrong with a package.
type PackageError struct {
	Path   string // of the archive
	Member string // inside it, may be ""
	Reason string
	Err    error // the cause, may be nil
}

func (e *PackageError) Error() string {
	if e.Member == "" {
		return fmt.Sprintf("%s: %s", e.Path, e.Reason)
	}
	return fmt.Sprintf("%s: member %q: %s", e.Path, e.Member, e.Reason)
}

func (e *PackageError) Unwrap() error { return e.Err }

func resolvePackage(ctx context.Context, path string, extract extractor, opts Options) (*Candidate, error) {
	parts := withParts(ctx, path)
	if _, _, err := rpmName(path); err == nil {
		parts = withRPMParts(path)
	}
	key := cache.Key{Kind: "kernel", Inputs: []string{"package v1"}}
	for _, f := range parts.files {
		sum, err := kernel.HashFile(f)
		if err != nil {
			return nil, err
		}
		key.Inputs = append(key.Inputs, sum)
	}
	dir, err := opts.Cache.Get(ctx, key, func(ctx context.Context, dir string) error {
		if err := extractInto(ctx, dir, extract, parts.files...); err != nil {
			return err
		}
		err := describe(ctx, dir, path)
		var bad *PackageError
		if errors.As(err, &bad) && len(parts.gone) > 0 {
			bad.Reason += "; missing: " + some(parts.gone)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	c, err := readRecord(dir)
	if err != nil {
		return nil, err
	}
	c.Origin, c.Lacks = path, append(parts.lacks, lackingRPM(path, c)...)
	return c, nil
}

// extractInto unpacks packages, one after the other, into dir/root.
func extractInto(ctx context.Context, dir string, extract extractor, paths ...string) error {
	return extractOnly(ctx, dir, "", extract, paths...)
}

// extractOnly is extractInto for one file of the packages.
func extractOnly(ctx context.Context, dir, only string, extract extractor, paths ...string) error {
	return extractTo(ctx, dir, func(u *unpacker) { u.only = only }, extract, paths...)
}

// extractAll is extractInto for all of the packages, programs among it.
func extractAll(ctx context.Context, dir string, extract extractor, paths ...string) error {
	return extractTo(ctx, dir, func(u *unpacker) { u.all = true }, extract, paths...)
}

func extractTo(ctx context.Context, dir string, set func(*unpacker), extract extractor, paths ...string) error {
	out, err := newUnpacker(filepath.Join(dir, "root"))
	if err != nil {
		return err
	}
	defer out.Close()
	set(out)
	for _, p := range paths {
		st, err := os.Stat(p)
		if err != nil {
			return fmt.Errorf("open package: %w", err)
		}
		out.archive = p
		out.task = progress.From(ctx).Task("unpack "+filepath.Base(p), st.Size())
		err = extract(ctx, p, out)
		out.task.Done(err)
		if err != nil {
			return err
		}
	}
	return nil
}

// describe finds the kernel and its files below dir/root, unpacks the kernel,
// and writes the record. from names the package in errors.
func describe(ctx context.Context, dir, from string) error {
	root := filepath.Join(dir, "root")
	found, err := findKernels(root)
	if err != nil {
		return fmt.Errorf("read package %s: %w", from, err)
	}
	if len(found) == 0 {
		return &PackageError{Path: from, Reason: "contains no kernel (Debian 6.19 and later keep it in linux-binary-RELEASE: put those packages in the same directory, or use deb:PACKAGE, which follows the dependencies)"}
	}
	k, err := unpackInto(ctx, filepath.Join(root, found[0]), dir)
	if err != nil {
		var bad *kernel.BadKernelError
		if errors.As(err, &bad) {
			return &PackageError{Path: from, Member: found[0], Reason: bad.Reason, Err: err}
		}
		return err
	}
	k.Path = filepath.Join("root", found[0])
	if k.Unpacked == "" {
		k.Unpacked = k.Path
	}
	at := func(names ...string) string {
		for _, n := range names {
			if firstFile(filepath.Join(root, n)) != "" {
				return filepath.Join("root", n)
			}
		}
		return ""
	}
	r := record{Kernel: *k, Embedded: k.Config}
	modules := filepath.Join("lib/modules", k.Release)
	r.Config = at("boot/config-"+k.Release, filepath.Join(modules, "config"))
	r.SystemMap = at("boot/System.map-"+k.Release, filepath.Join(modules, "System.map"))
	if isDir(filepath.Join(root, modules, "kernel")) || isDir(filepath.Join(root, modules, "updates")) {
		r.Modules = filepath.Join("root", modules)
	}
	return r.write(dir)
}

// findKernels lists the files that packages keep kernels in, the likeliest
// first: an uncompressed vmlinux beside a vmlinuz is for debugging.
func findKernels(root string) ([]string, error) {
	var found []string
	for _, pattern := range []string{"boot/*", "lib/modules/*/*"} {
		paths, err := fs.Glob(os.DirFS(root), pattern)
		if err != nil {
			return nil, err
		}
		for _, p := range paths {
			if rank(p) >= 0 && firstFile(filepath.Join(root, p)) != "" {
				found = append(found, p)
			}
		}
	}
	slices.SortStableFunc(found, func(a, b string) int { return cmp.Compare(rank(a), rank(b)) })
	return found, nil
}

func rank(path string) int {
	base := filepath.Base(path)
	return slices.IndexFunc([]string{"vmlinuz", "bzImage", "Image", "vmlinux"}, func(prefix string) bool {
		rest, ok := strings.CutPrefix(base, prefix)
		return ok && (rest == "" || rest[0] == '-' || rest[0] == '.') && !strings.HasSuffix(base, ".hmac")
	})
}
