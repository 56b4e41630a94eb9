package candidate

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/images/cache"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// Source is a kernel's source as a distribution packages it.
type Source struct {
	// Tarball is the source in one archive, linux-source-VERSION.tar.xz, whose
	// members are below the folder linux-source-VERSION. It is shared: read it only.
	Tarball string
	// ID changes with the package.
	ID string
}

// sourceDir is where the packages put source archives.
const sourceDir = "usr/src"

// ArchiveSource fetches linux-source-SERIES, such as 6.1, from the Debian archive
// and unpacks the archive that it holds: some 140 MB. version is the package's, ""
// the newest at the time that it is first asked for; suite "" means the default
// one. The cache keeps it. Options.Arch does not matter: the package has none.
func ArchiveSource(ctx context.Context, series, version, suite string, opts Options) (Source, error) {
	if opts.Cache == nil {
		store, err := cache.Default()
		if err != nil {
			return Source{}, err
		}
		opts.Cache = store
	}
	want := arch.Host() // an apt has to be of some architecture
	if want == "" {
		want = arch.All()[0]
	}
	spec, err := parseSpec(headersSpec("linux-source-"+series, version, suite), want)
	if err != nil {
		return Source{}, err
	}
	key := cache.Key{Kind: "source", Inputs: []string{"1", spec.pkg, spec.version, spec.suite}}
	dir, err := opts.Cache.Get(ctx, key, func(ctx context.Context, dir string) error {
		_, debs, clean, err := fetchPackages(ctx, spec, opts, nil)
		if err != nil {
			return err
		}
		defer clean()
		if err := extractAll(ctx, dir, extractDeb, debs...); err != nil {
			return err
		}
		_, err = sourceTarball(dir)
		return err
	})
	if err != nil {
		return Source{}, err
	}
	name, err := sourceTarball(dir)
	return Source{Tarball: name, ID: key.ID()}, err
}

// sourceTarball finds the one archive of an unpacked source package.
func sourceTarball(dir string) (string, error) {
	names, err := filepath.Glob(filepath.Join(dir, "root", sourceDir, "linux-source-*.tar.*"))
	if err != nil {
		return "", err
	}
	names = slices.DeleteFunc(names, func(n string) bool {
		st, err := os.Lstat(n)
		return err != nil || !st.Mode().IsRegular() || strings.HasSuffix(n, ".asc")
	})
	if len(names) != 1 {
		return "", fmt.Errorf("unpack source package: %d source archives in %s, want one", len(names), sourceDir)
	}
	return names[0], nil
}
