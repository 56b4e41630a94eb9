package candidate

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
)

// ArchiveFile fetches one file of the newest version of a Debian package, in
// the default suite, and returns its path in the cache. It is fetched once:
// the cache keeps it until it is pruned. Options.Arch is needed.
func ArchiveFile(ctx context.Context, pkg, file string, opts Options) (string, error) {
	if opts.Cache == nil {
		store, err := cache.Default()
		if err != nil {
			return "", err
		}
		opts.Cache = store
	}
	file = strings.TrimPrefix(file, "/")
	spec, err := parseSpec(pkg, opts.Arch)
	if err != nil {
		return "", err
	}
	key := cache.Key{Kind: "file", Inputs: []string{"1", pkg, file, spec.suite, string(spec.arch)}}
	dir, err := opts.Cache.Get(ctx, key, func(ctx context.Context, dir string) error {
		return fetchFile(ctx, dir, file, spec, opts)
	})
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "root", file), nil
}

func fetchFile(ctx context.Context, dir, file string, spec archiveSpec, opts Options) error {
	archive, err := mirror.Find(opts.Mirror, spec.suite, cmp.Or(opts.aptSources, mirror.AptSources))
	if err != nil {
		return err
	}
	a := newApt(opts, archive, spec)
	unlock, err := lockDir(ctx, a.dir)
	if err != nil {
		return err
	}
	defer unlock()
	if err := a.update(ctx, opts.Refresh); err != nil {
		return err
	}
	p, err := a.show(ctx, spec.pkg, spec.version)
	if err != nil {
		return err
	}
	debs, clean, err := a.download(ctx, []debPackage{p})
	if err != nil {
		return err
	}
	defer clean()
	if err := extractOnly(ctx, dir, file, extractDeb, debs...); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, "root", file)); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("package %s %s has no file %s", p.Name, p.Version, file)
	}
	return nil
}
