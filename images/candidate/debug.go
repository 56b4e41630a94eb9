package candidate

import (
	"context"
	"path/filepath"

	"github.com/unwedge/unwedge/images/cache"
)

// debugDir is where the packages put debug information.
const debugDir = "usr/lib/debug"

// ArchiveDebug fetches and unpacks linux-image-RELEASE-dbg, the debug information
// of one kernel of the Debian archive: some 280 MB, 1.8 GB unpacked. It returns
// the directory that holds boot/vmlinux-RELEASE and lib/modules/RELEASE. Nothing
// is installed. version is the package's, "" the newest; suite "" means the
// default one. Options.Arch is needed. The cache keeps it.
func ArchiveDebug(ctx context.Context, release, version, suite string, opts Options) (string, error) {
	if opts.Cache == nil {
		store, err := cache.Default()
		if err != nil {
			return "", err
		}
		opts.Cache = store
	}
	spec, err := parseSpec(headersSpec("linux-image-"+release+"-dbg", version, suite), opts.Arch)
	if err != nil {
		return "", err
	}
	key := cache.Key{Kind: "debug", Inputs: []string{"1", spec.pkg, spec.version, spec.suite, string(spec.arch)}}
	dir, err := opts.Cache.Get(ctx, key, func(ctx context.Context, dir string) error {
		_, debs, clean, err := fetchPackages(ctx, spec, opts, nil)
		if err != nil {
			return err
		}
		defer clean()
		return extractAll(ctx, dir, extractDeb, debs...)
	})
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "root", debugDir), nil
}
