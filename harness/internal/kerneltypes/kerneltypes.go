// Package kerneltypes finds the types of a kernel whose image has none: in a file of
// the same build, or by compiling a few lines against what its modules are built with.
package kerneltypes

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/unwedge/unwedge/harness/internal/guestmem/kimage"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/images/extmod"
)

// timeout bounds it. On an idle host headers are compiled in some 3 seconds.
const timeout = 2 * time.Minute

// Finder is where to look.
type Finder struct {
	// Symbols is a vmlinux of the same build with BTF or debug information, "" where
	// there is none.
	Symbols string
	// Candidate is the kernel, and Options are what its headers are found with;
	// Options.Cache keeps what was compiled.
	Candidate *candidate.Candidate
	Options   candidate.Options
}

// Find finds the types. The error says why there are none.
func (f Finder) Find() (*kimage.Types, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	var noFile error
	if f.Symbols != "" {
		var t *kimage.Types
		if t, noFile = fromFile(f.Symbols, f.Candidate.Kernel.BuildID); noFile == nil {
			return t, nil
		}
	}
	t, err := f.compile(ctx)
	if err != nil {
		return nil, errors.Join(noFile, err)
	}
	return t, nil
}

func (f Finder) compile(ctx context.Context) (*kimage.Types, error) {
	o := f.Options
	o.Arch = f.Candidate.Kernel.Arch
	headers, err := f.Candidate.FindHeaders(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := sameRelease(headers.Dir, f.Candidate.Kernel.Release); err != nil {
		return nil, err
	}
	objects, err := extmod.Types(ctx, extmod.TypesOptions{Arch: o.Arch, Headers: headers.Dir, Store: o.Cache})
	if err != nil {
		return nil, err
	}
	return kimage.FromObjects(objects)
}

// releaseRE finds what `uname -r` says in include/generated/utsrelease.h.
var releaseRE = regexp.MustCompile(`(?m)^#define UTS_RELEASE "([^"]*)"`)

// sameRelease refuses headers that are configured for another kernel by now.
func sameRelease(dir, release string) error {
	b, err := os.ReadFile(filepath.Join(dir, "include/generated/utsrelease.h"))
	if err != nil {
		return fmt.Errorf("compile types: %w", err)
	}
	if m := releaseRE.FindSubmatch(b); m == nil || string(m[1]) != release {
		return fmt.Errorf("compile types: %s is not configured as %s, the kernel's release: build it again", dir, release)
	}
	return nil
}

// maxFile bounds a vmlinux with debug information, in bytes.
const maxFile = 2 << 30

// fromFile reads the types of a file, which must be of the kernel's own build.
func fromFile(path, buildID string) (*kimage.Types, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read types: %w", err)
	}
	if st.Size() > maxFile {
		return nil, fmt.Errorf("read types: %s has more than %d bytes", path, maxFile)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read types: %w", err)
	}
	e, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("read types: %s: %w", path, err)
	}
	if id := noteID(e); id != "" && buildID != "" && id != buildID {
		return nil, fmt.Errorf("read types: %s is of another build: its build ID is %s, the kernel's is %s", path, id, buildID)
	}
	return kimage.FromELF(b, kimage.DWARF)
}

// noteID is the build ID of an ELF file, "" where it has none (elf(5), NT_GNU_BUILD_ID).
func noteID(e *elf.File) string {
	for _, s := range e.Sections {
		if s.Type != elf.SHT_NOTE {
			continue
		}
		b, err := s.Data()
		const head = 16 // three words and "GNU\0"
		if i := bytes.Index(b, []byte("\x03\x00\x00\x00GNU\x00")); err == nil && i >= 8 && len(b) >= i+head-8 {
			size := int(e.ByteOrder.Uint32(b[i-4:]))
			if rest := b[i+8:]; size > 0 && size <= len(rest) {
				return fmt.Sprintf("%x", rest[:size])
			}
		}
	}
	return ""
}
