// Package extmod is for kernel modules that are built out of tree: it builds
// them, and says before a boot whether a kernel will take one, and if not, why, in
// the kernel's own words.
package extmod

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/unwedge/unwedge/images/cache"
	"github.com/unwedge/unwedge/scenarios/arch"
)

//go:embed src
var probeSource embed.FS

const probeDir = "src"

// ProbeName is the name of a small module that shows that modules load: it takes
// a parameter and prints its value behind its own name.
const ProbeName = "unwedge_probe"

// ProbeParam is the parameter's name.
const ProbeParam = "word"

// ProbeOptions say for which kernel the probe is built.
type ProbeOptions struct {
	// Arch is the kernel's, Headers what its modules are built with: a build tree,
	// or the directory of a header package.
	Arch    arch.Arch
	Headers string
	// HeadersID changes with the headers; "" means that they may change at any
	// time, and the module is built anew.
	HeadersID string
	// Store keeps the module where HeadersID is given.
	Store *cache.Store
}

// Probe builds the probe for a kernel and returns its bytes, and where make's log
// is, "" where it is not kept. What is not installed is a *MissingToolError.
func Probe(ctx context.Context, o ProbeOptions) (module []byte, log string, err error) {
	files, err := sourceFiles(probeSource, probeDir)
	if err != nil {
		return nil, "", err
	}
	tools, err := FindTools(ctx, o.Arch, o.Headers)
	if err != nil {
		return nil, "", err
	}
	spec := Spec{Name: ProbeName, Files: files, Headers: o.Headers}
	if o.HeadersID == "" {
		module, err = tools.Build(ctx, spec)
		return module, "", err
	}
	h := sha256.New()
	for _, name := range []string{"Kbuild", ProbeName + ".c"} {
		h.Write(files[name])
	}
	key := cache.Key{Kind: "extmod", Inputs: []string{"1", hex.EncodeToString(h.Sum(nil)), o.HeadersID, string(o.Arch), tools.Version}}
	const koName, logName = ProbeName + ".ko", "make.log"
	dir, err := o.Store.Get(ctx, key, func(ctx context.Context, dir string) (err error) {
		out, err := os.Create(filepath.Join(dir, logName))
		if err != nil {
			return fmt.Errorf("keep make's log: %w", err)
		}
		spec.Log = out
		module, err := tools.Build(ctx, spec)
		if err = errors.Join(err, out.Close()); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, koName), module, 0o644)
	})
	if err != nil {
		return nil, "", err
	}
	module, err = readModule(filepath.Join(dir, koName))
	return module, filepath.Join(dir, logName), err
}

// sourceFiles reads the files of a directory that is part of the program.
func sourceFiles(source embed.FS, dir string) (map[string][]byte, error) {
	files := map[string][]byte{}
	entries, err := fs.ReadDir(source, dir)
	if err != nil {
		return nil, fmt.Errorf("read the module's source: %w", err)
	}
	for _, e := range entries {
		if files[e.Name()], err = source.ReadFile(dir + "/" + e.Name()); err != nil {
			return nil, fmt.Errorf("read the module's source: %w", err)
		}
	}
	return files, nil
}
