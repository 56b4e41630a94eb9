package candidate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/images/cache"
	"github.com/unwedge/unwedge/images/kernel"
)

// configPackage begins the name of the packages that hold the configurations of a
// series for all its flavours: linux-config-6.1.
const configPackage = "linux-config-"

// ArchiveConfig returns the configuration that a package of the Debian archive
// holds: for "deb:linux-config-SERIES/FLAVOUR[=VERSION][@SUITE]" the flavour's, such
// as cloud-amd64 ("/FLAVOUR" may be left off for the plain one); for any other
// package that of the kernel in it. It is a plain file, in the cache: read it only.
// Options.Arch is needed for the former.
func ArchiveConfig(ctx context.Context, arg string, opts Options) (string, error) {
	text, ok := strings.CutPrefix(arg, "deb:"+configPackage)
	if !ok {
		c, err := Resolve(ctx, arg, opts)
		if err != nil {
			return "", err
		}
		if c.ConfigPath == "" {
			return "", &NotFoundError{arg, "the package holds no configuration"}
		}
		return c.ConfigPath, nil
	}
	if opts.Cache == nil {
		store, err := cache.Default()
		if err != nil {
			return "", err
		}
		opts.Cache = store
	}
	name, flavour := text, ""
	if at := strings.IndexByte(text, '/'); at >= 0 {
		end := at + strings.IndexAny(text[at:]+"@", "=@")
		name, flavour = text[:at]+text[end:], text[at+1:end]
	}
	spec, err := parseSpec(configPackage+name, opts.Arch)
	if err != nil {
		return "", err
	}
	if flavour == "" {
		flavour = spec.arch.Facts().Debian
	}
	key := cache.Key{Kind: "config", Inputs: []string{"1", spec.pkg, spec.version, spec.suite, string(spec.arch)}}
	dir, err := opts.Cache.Get(ctx, key, func(ctx context.Context, dir string) error {
		_, debs, clean, err := fetchPackages(ctx, spec, opts, nil)
		if err != nil {
			return err
		}
		defer clean()
		if err := extractAll(ctx, dir, extractDeb, debs...); err != nil {
			return err
		}
		return unpackConfigs(dir)
	})
	if err != nil {
		return "", err
	}
	return flavourConfig(dir, arg, spec.arch.Facts().Debian, flavour)
}

// unpackConfigs unpacks each config.DEBARCH_FEATURESET_FLAVOUR.xz of the package
// into dir, without its ending.
func unpackConfigs(dir string) error {
	packed, err := filepath.Glob(filepath.Join(dir, "root", sourceDir, "linux-config-*", "config.*.xz"))
	if err != nil {
		return err
	}
	for _, p := range packed {
		if err := unpackConfig(p, filepath.Join(dir, strings.TrimSuffix(filepath.Base(p), ".xz"))); err != nil {
			return fmt.Errorf("unpack kernel configuration: %w", err)
		}
	}
	return nil
}

func unpackConfig(from, to string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := kernel.NewReader(kernel.XZ, f)
	if err != nil {
		return err
	}
	defer z.Close()
	const most = 4 << 20 // bytes; Debian's are of 0.3 MiB
	b, err := io.ReadAll(io.LimitReader(z, most))
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o644)
}

// flavourConfig is the plain configuration of a flavour; the error for a missing one
// lists those that exist.
func flavourConfig(dir, arg, debian, flavour string) (string, error) {
	prefix := "config." + debian + "_none_"
	path := filepath.Join(dir, prefix+flavour)
	if _, err := os.Stat(path); err == nil && filepath.IsLocal(flavour) {
		return path, nil
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("find kernel configuration: %w", err)
	}
	have, err := filepath.Glob(filepath.Join(dir, prefix+"*"))
	if err != nil {
		return "", err
	}
	for i, p := range have {
		have[i] = strings.TrimPrefix(filepath.Base(p), prefix)
	}
	slices.Sort(have)
	return "", &NotFoundError{arg, fmt.Sprintf("the package has no flavour %q: choose one of %s", flavour, strings.Join(have, ", "))}
}
