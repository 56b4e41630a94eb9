// Package candidate turns what a user names as a kernel into a kernel.Kernel
// with its modules: a file, a kernel build tree, a package on disk, or a
// package of the Debian archive.
package candidate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/unwedge/unwedge/images/cache"
	"github.com/unwedge/unwedge/images/kernel"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// Candidate is a kernel to boot and what came with it.
type Candidate struct {
	// Kernel has Unpacked set, to a file in the cache or to its own path.
	Kernel *kernel.Kernel
	// ModulesDir is a lib/modules/RELEASE directory, "" where the candidate
	// has no modules. It is shared: read it only. Only build trees come
	// with a modules.dep; packages leave that to depmod at installation.
	ModulesDir string
	// ConfigPath and SystemMap are files, "" where there is none.
	ConfigPath, SystemMap string
	// HeadersDir is what modules for the kernel are built with, where the user
	// named it; FindHeaders looks for it elsewhere.
	HeadersDir string
	// Origin is what the user asked for, made exact, such as
	// "deb:linux-image-6.1.0-40-amd64=6.1.153-1@bookworm".
	Origin string
	// Lacks are packages with the modules or the configuration that are not
	// there, in the archive or beside the file, while the kernel is.
	Lacks []string
}

// Options say where candidates may come from. The zero value works.
type Options struct {
	// Arch is the architecture wanted; a kernel of another one is an error.
	// Empty means whatever the kernel is.
	Arch arch.Arch
	// Mirror is the Debian mirror's URI. Empty means $UNWEDGE_DEBIAN_MIRROR,
	// else the one in the host's apt sources.
	Mirror string
	// Refresh fetches the package lists anew, instead of once a day.
	Refresh bool
	// Cache keeps packages and unpacked kernels; nil means cache.Default.
	Cache *cache.Store

	aptSources, keyring string // stand for /etc/apt and the archive's keys, in tests
}

// NotFoundError says that an argument names nothing.
type NotFoundError struct {
	Arg, Reason string
}

func (e *NotFoundError) Error() string { return fmt.Sprintf("kernel %q: %s", e.Arg, e.Reason) }

// Resolve finds the kernel that arg names: a kernel file, a build tree, a
// .deb or .rpm (all found out from the bytes, not the name), or
// "deb:PACKAGE[=VERSION][@SUITE]". What is costly is kept in the cache.
func Resolve(ctx context.Context, arg string, opts Options) (*Candidate, error) {
	if opts.Cache == nil {
		store, err := cache.Default()
		if err != nil {
			return nil, err
		}
		opts.Cache = store
	}
	c, err := resolve(ctx, arg, opts)
	if err != nil {
		return nil, err
	}
	if opts.Arch != "" && c.Kernel.Arch != opts.Arch {
		return nil, &kernel.BadKernelError{Path: arg, Reason: fmt.Sprintf("an %s kernel, but %s is wanted", c.Kernel.Arch, opts.Arch)}
	}
	if c.ConfigPath != "" && c.Kernel.Config == nil {
		if c.Kernel.Config, err = kernel.ReadConfig(c.ConfigPath); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func resolve(ctx context.Context, arg string, opts Options) (*Candidate, error) {
	if spec, ok := strings.CutPrefix(arg, "deb:"); ok {
		return resolveArchive(ctx, spec, opts)
	}
	st, err := os.Stat(arg)
	if errors.Is(err, os.ErrNotExist) {
		return nil, &NotFoundError{arg, "no such file: want a kernel file, a build tree, a .deb, a .rpm, or deb:PACKAGE[=VERSION][@SUITE]"}
	}
	if err != nil {
		return nil, fmt.Errorf("open kernel: %w", err)
	}
	if arg, err = filepath.Abs(arg); err != nil {
		return nil, fmt.Errorf("open kernel: %w", err)
	}
	if st.IsDir() {
		return resolveTree(ctx, arg, opts)
	}
	switch kind, err := sniff(arg); {
	case err != nil:
		return nil, fmt.Errorf("open kernel: %w", err)
	case kind != nil:
		return resolvePackage(ctx, arg, kind, opts)
	}
	k, err := keepFile(ctx, arg, opts.Cache)
	if err != nil {
		return nil, err
	}
	return fileCandidate(arg, k), nil
}

// fileCandidate is a kernel file with what lies beside it.
func fileCandidate(path string, k *kernel.Kernel) *Candidate {
	c := &Candidate{Kernel: k, Origin: path}
	c.beside(filepath.Dir(path))
	if c.ModulesDir == "" {
		c.ModulesDir = modulesOf(path)
	}
	return c
}

// beside looks for what an installed kernel has next to it: /boot has
// config-RELEASE and System.map-RELEASE, /lib/modules/RELEASE the modules.
func (c *Candidate) beside(dir string) {
	rel := c.Kernel.Release
	c.ConfigPath = firstFile(filepath.Join(dir, "config-"+rel), modulesFile(dir, rel, "config"))
	c.SystemMap = firstFile(filepath.Join(dir, "System.map-"+rel), modulesFile(dir, rel, "System.map"))
	switch modules := filepath.Join(filepath.Dir(dir), "lib", "modules", rel); {
	case filepath.Base(dir) == rel && isDir(filepath.Join(dir, "kernel")):
		c.ModulesDir = dir
	case filepath.Base(dir) == "boot" && isDir(filepath.Join(modules, "kernel")):
		c.ModulesDir = modules
	}
}

// ModulesSuffix is appended to a kernel file's name for a link to, or a copy of,
// its lib/modules/RELEASE directory.
const ModulesSuffix = ".modules"

// modulesOf returns the modules that lie beside a kernel file, "" if none do.
func modulesOf(path string) string {
	dir, err := filepath.EvalSymlinks(path + ModulesSuffix)
	if err != nil || !isDir(filepath.Join(dir, "kernel")) {
		return ""
	}
	return dir
}

// modulesFile is a file of a lib/modules/RELEASE directory, "" for any other
// directory: a plain "config" elsewhere may belong to anything.
func modulesFile(dir, release, name string) string {
	if filepath.Base(dir) != release {
		return ""
	}
	return filepath.Join(dir, name)
}

func firstFile(paths ...string) string {
	for _, p := range paths {
		if st, err := os.Stat(p); p != "" && err == nil && st.Mode().IsRegular() {
			return p
		}
	}
	return ""
}

func isDir(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}

// record is a Candidate as an entry of the cache keeps it: paths are relative
// to the entry's directory.
type record struct {
	Kernel                     kernel.Kernel
	Embedded                   *kernel.Config // what IKCONFIG holds
	Modules, Config, SystemMap string
}

const recordName = "candidate.json"

func (r record) write(dir string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("describe kernel: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, recordName), b, 0o644); err != nil {
		return fmt.Errorf("describe kernel: %w", err)
	}
	return nil
}

func readRecord(dir string) (*Candidate, error) {
	b, err := os.ReadFile(filepath.Join(dir, recordName))
	if err != nil {
		return nil, fmt.Errorf("read cached kernel: %w", err)
	}
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("read cached kernel %s: %w", dir, err)
	}
	in := func(rel string) string {
		if rel == "" {
			return ""
		}
		return filepath.Join(dir, rel)
	}
	k := r.Kernel
	k.Config = r.Embedded
	k.Path, k.Unpacked = in(k.Path), in(k.Unpacked)
	return &Candidate{Kernel: &k, ModulesDir: in(r.Modules), ConfigPath: in(r.Config), SystemMap: in(r.SystemMap)}, nil
}

// keepFile identifies a kernel file, or finds it identified and unpacked in
// the cache.
func keepFile(ctx context.Context, path string, store *cache.Store) (*kernel.Kernel, error) {
	sum, err := kernel.HashFile(path)
	if err != nil {
		return nil, err
	}
	dir, err := store.Get(ctx, cache.Key{Kind: "kernel", Inputs: []string{"file v1", sum}}, func(ctx context.Context, dir string) error {
		k, err := unpackInto(ctx, path, dir)
		if err != nil {
			return err
		}
		k.Path = ""
		return record{Kernel: *k, Embedded: k.Config}.write(dir)
	})
	if err != nil {
		return nil, err
	}
	c, err := readRecord(dir)
	if err != nil {
		return nil, err
	}
	k := c.Kernel
	if k.Path = path; k.Unpacked == "" {
		k.Unpacked = path
	}
	return k, nil
}

// unpackInto identifies a kernel and writes its payload into dir, unless the
// file is its own payload. Unpacked is left relative to dir.
func unpackInto(ctx context.Context, path, dir string) (*kernel.Kernel, error) {
	k, payload, err := kernel.IdentifyPayload(ctx, path)
	if err != nil {
		return nil, err
	}
	if k.Plain() {
		return k, nil
	}
	k.Unpacked = k.PayloadName()
	if err := os.WriteFile(filepath.Join(dir, k.Unpacked), payload, 0o644); err != nil {
		return nil, fmt.Errorf("keep unpacked kernel: %w", err)
	}
	return k, nil
}

// sniff recognizes a package by its first bytes; nil for anything else.
func sniff(path string) (extractor, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var head [8]byte
	if _, err := io.ReadFull(f, head[:]); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case string(head[:]) == arMagic:
		return extractDeb, nil
	case string(head[:4]) == rpmMagic:
		return extractRPM, nil
	}
	return nil, nil
}
