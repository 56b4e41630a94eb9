package kbuild

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Twice is what two builds of one source in two directories came to.
type Twice struct {
	// First is the build in the Spec's Output.
	First *Built
	// Second is the other one. Its files are gone unless the two differ.
	Second *Built
	// Differences are empty where the two are the same to the bit.
	Differences []Difference
	// Elapsed is how long both took, and the comparison.
	Elapsed time.Duration
}

// Difference is a part of the two builds that differs.
type Difference struct {
	// File is relative to the output directory.
	File string `json:"file"`
	// Section is one of an ELF file, "" for the whole of another file.
	Section string `json:"section,omitempty"`
	// What says in words how it differs: sizes, or the first place.
	What string `json:"what"`
}

// secondSuffix is appended to Output for the second build.
const secondSuffix = ".twice"

// BuildTwice builds the Spec in Output and then from nothing in another directory
// beside it, and compares vmlinux section by section, the boot image and the
// modules. The second build does not use ccache. What is random by intention, such as the
// key that signs modules, is made once. Output must not hold an earlier build, whose
// leftovers would be compared too.
func BuildTwice(ctx context.Context, s Spec) (*Twice, error) {
	started := time.Now()
	if err := s.check(); err != nil {
		return nil, err
	}
	if exists(filepath.Join(s.Output, "vmlinux")) {
		return nil, &SpecError{s.Output + " holds an earlier build: name a new directory to build twice"}
	}
	// clang's assembler does not map the names of its sources (see placeless), and
	// ccache changes them: neither build may use it.
	s.NoCcache = s.NoCcache || s.LLVM
	again := s
	again.Output += secondSuffix
	again.NoCcache = true // it would hand out the first build's objects
	if exists(again.Output) && !exists(filepath.Join(again.Output, lockName)) {
		return nil, &SpecError{again.Output + ", the directory of the second build, exists and is not a build: move it away, or name another output directory"}
	}
	if err := os.RemoveAll(again.Output); err != nil {
		return nil, hostFault("build", err)
	}
	var t Twice
	var err error
	if t.First, err = Build(ctx, s); err != nil {
		return nil, err
	}
	if err := shareRandom(s.Output, again.Output); err != nil {
		return nil, hostFault("build", err)
	}
	if t.Second, err = Build(ctx, again); err != nil {
		return nil, err
	}
	if t.Differences, err = compareBuilds(ctx, s, again); err != nil {
		return nil, err
	}
	t.Elapsed = time.Since(started)
	if len(t.Differences) == 0 {
		if err := os.RemoveAll(again.Output); err != nil {
			return nil, hostFault("build", err)
		}
	}
	return &t, nil
}

// randomFiles are what a build makes at random where the output does not have it: the
// key of certs/Makefile, where the configuration names none of one's own, and the
// seeds of CONFIG_RANDSTRUCT, since 5.19 and before. The .cmd files are what make goes
// by: without them it makes all anew. None may be older than the one that it is made
// of, so that the order matters.
var randomFiles = []string{
	"certs/x509.genkey", "certs/signing_key.pem", "certs/.signing_key.pem.cmd",
	"scripts/basic/randstruct.seed", "scripts/basic/.randstruct.seed.cmd", "include/generated/randstruct_hash.h",
	"scripts/gcc-plugins/randomize_layout_seed.h", "scripts/gcc-plugins/.randomize_layout_seed.h.cmd", "include/generated/randomize_layout_hash.h",
}

// shareRandom gives the second build what the first one made at random.
func shareRandom(from, to string) error {
	for _, name := range randomFiles {
		b, err := os.ReadFile(filepath.Join(from, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Join(to, filepath.Dir(name)), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, name), b, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// maxDifferences bounds the list: everything may differ.
const maxDifferences = 200

// compareBuilds compares what two builds left. Where that differs, the objects that
// it was linked from come first: they say what the rest only follows.
func compareBuilds(ctx context.Context, s, again Spec) ([]Difference, error) {
	out, err := compareProducts(ctx, s, again)
	if err != nil || len(out) == 0 {
		return out, err
	}
	objects, err := compareObjects(ctx, s.Output, again.Output)
	return append(objects, out...), err
}

// compareProducts compares what is booted, and what it was configured by.
func compareProducts(ctx context.Context, s, again Spec) ([]Difference, error) {
	out, err := compareELF(s.Output, again.Output, "vmlinux")
	if err != nil {
		return nil, err
	}
	files := []string{".config", s.Arch.Facts().BootImages[0]}
	modules, err := modulesOf(s.Output)
	if err != nil {
		return nil, err
	}
	for _, name := range append(files, modules...) {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if len(out) >= maxDifferences {
			return append(out, Difference{File: "…", What: "more differences"}), nil
		}
		a, b := filepath.Join(s.Output, name), filepath.Join(again.Output, name)
		at, same, err := compareFiles(a, b)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			out = append(out, Difference{File: name, What: "only one of the builds has it"})
		case err != nil:
			return nil, fmt.Errorf("compare builds: %w", err)
		case !same:
			out = append(out, Difference{File: name, What: fmt.Sprintf("from byte %#x on", at)})
		}
	}
	return out, nil
}

// modulesOf lists the modules of modules.order. Since 6.4 it names .o files (kernel
// commit f65a486821cf).
func modulesOf(dir string) ([]string, error) {
	b, err := os.ReadFile(filepath.Join(dir, "modules.order"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("compare builds: %w", err)
	}
	var out []string
	for _, name := range fields(b) {
		if ext := filepath.Ext(name); ext == ".o" {
			name = name[:len(name)-len(ext)] + ".ko"
		}
		if filepath.IsLocal(name) {
			out = append(out, name)
		}
	}
	return out, nil
}

// compareFiles finds the first byte that differs.
func compareFiles(a, b string) (at int64, same bool, err error) {
	x, err := os.Open(a)
	if err != nil {
		return 0, false, err
	}
	defer x.Close()
	y, err := os.Open(b)
	if err != nil {
		return 0, false, err
	}
	defer y.Close()
	return compareReaders(x, y)
}

func compareReaders(x, y io.Reader) (at int64, same bool, err error) {
	const chunk = 256 << 10
	bx, by := make([]byte, chunk), make([]byte, chunk)
	for {
		n, errX := io.ReadFull(x, bx)
		m, errY := io.ReadFull(y, by)
		for i := range min(n, m) {
			if bx[i] != by[i] {
				return at + int64(i), false, nil
			}
		}
		at += int64(min(n, m))
		if n != m {
			return at, false, nil
		}
		if errX != nil || errY != nil {
			return at, true, readError(errX, errY)
		}
	}
}

// readError is what went wrong, but for the end of both.
func readError(errs ...error) error {
	for _, err := range errs {
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
	}
	return nil
}
