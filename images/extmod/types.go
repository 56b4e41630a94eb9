package extmod

import (
	"context"
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/images/cache"
	"github.com/unwedge/unwedge/images/progress"
	"github.com/unwedge/unwedge/scenarios/arch"
)

//go:embed types
var typesSource embed.FS

const typesDir = "types"

// publicTypes is the object that needs headers alone. Without it there are no types;
// each of the others adds some.
const publicTypes = "unwedge_public.o"

// TypesOptions say for which kernel its types are compiled.
type TypesOptions struct {
	// Arch is the kernel's, Headers what its modules are built with: a build tree,
	// or the directory of a header package.
	Arch    arch.Arch
	Headers string
	// Store keeps the objects, by what the headers are configured to.
	Store *cache.Store
}

// Types compiles a few small files with debug information and returns the objects:
// they hold the layouts of the kernel's structures. In a source tree these are more
// than headers alone tell. What is not installed is a *MissingToolError.
func Types(ctx context.Context, o TypesOptions) ([][]byte, error) {
	tools, err := FindTools(ctx, o.Arch, o.Headers)
	if err != nil {
		return nil, err
	}
	files, err := sourceFiles(typesSource, typesDir)
	if err != nil {
		return nil, err
	}
	id, err := headersID(o.Headers, files)
	if err != nil {
		return nil, err
	}
	key := cache.Key{Kind: "types", Inputs: []string{"1", id, string(o.Arch), tools.Version}}
	dir, err := o.Store.Get(ctx, key, func(ctx context.Context, dir string) error {
		return tools.objects(ctx, Spec{Name: "types", Files: files, Headers: o.Headers}, typesTargets(o.Headers, files), dir)
	})
	if err != nil {
		return nil, err
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.o"))
	if err != nil {
		return nil, fmt.Errorf("compile types: %w", err)
	}
	var out [][]byte
	for _, path := range found {
		b, err := readModule(path)
		if err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	return out, nil
}

// typesTargets are the objects that can be made with the headers.
func typesTargets(headers string, files map[string][]byte) []string {
	var out []string
	for name := range files {
		object, ok := strings.CutSuffix(name, ".c")
		if ok && (object+".o" == publicTypes || hasSources(headers)) {
			out = append(out, object+".o")
		}
	}
	slices.Sort(out)
	return out
}

// hasSources says that the kernel's sources are there, not its headers alone. A build
// with O= has a link to them (Makefile, outputmakefile).
func hasSources(headers string) bool {
	for _, dir := range []string{headers, filepath.Join(headers, "source")} {
		if _, err := os.Stat(filepath.Join(dir, "kernel/sched/sched.h")); err == nil {
			return true
		}
	}
	return false
}

// headersID changes with what decides the layouts: the configuration, the release, and
// the headers of the structures that matter most.
func headersID(headers string, files map[string][]byte) (string, error) {
	h := sha256.New()
	for _, name := range []string{"include/generated/autoconf.h", "include/config/kernel.release", ".config"} {
		b, err := os.ReadFile(filepath.Join(headers, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("compile types: %w", err)
		}
		fmt.Fprintf(h, "%s %d\n", name, len(b))
		h.Write(b)
	}
	for _, dir := range []string{headers, filepath.Join(headers, "source")} {
		for _, name := range []string{"include/linux/sched.h", "include/linux/mm_types.h", "include/linux/fs.h"} {
			if st, err := os.Stat(filepath.Join(dir, name)); err == nil {
				fmt.Fprintf(h, "%s %d %d\n", name, st.Size(), st.ModTime().UnixNano())
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(h, "%s %d\n", name, len(files[name]))
		h.Write(files[name])
	}
	return fmt.Sprintf("%s %x", headers, h.Sum(nil)), nil
}

// objects compiles some object files and moves them to a directory. Only that the
// public one fails is an error.
func (t *Toolchain) objects(ctx context.Context, s Spec, targets []string, to string) error {
	dir, err := os.MkdirTemp("", "unwedge-types-")
	if err != nil {
		return fmt.Errorf("compile types: %w", err)
	}
	defer os.RemoveAll(dir)
	if err := writeFiles(dir, s); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, buildTime, fmt.Errorf("make took longer than %s", buildTime))
	defer cancel()
	task := progress.From(ctx).Task("compile the kernel's types", 0)
	err = t.make(ctx, s, dir, append([]string{"-k", "-j2"}, targets...)...)
	task.Done(err)
	for _, name := range targets {
		b, readErr := os.ReadFile(filepath.Join(dir, name))
		if readErr != nil {
			if name == publicTypes {
				return errors.Join(err, readErr)
			}
			continue
		}
		if err := os.WriteFile(filepath.Join(to, name), b, 0o644); err != nil {
			return fmt.Errorf("compile types: %w", err)
		}
	}
	return ctx.Err()
}
