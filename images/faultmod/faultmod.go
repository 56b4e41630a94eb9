// Package faultmod makes a kernel module that hangs in ways that no change of
// one function makes (images/mutate): two mutexes taken in opposite order, a
// sleep that nothing ends, a CPU that spins, a thread that dies with a lock. It
// is built out of tree, for a stock kernel of the Debian archive, with the
// archive's own header packages; nothing is installed.
package faultmod

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/images/cache"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/images/extmod"
	"github.com/unwedge/unwedge/images/modules"
	"github.com/unwedge/unwedge/scenarios/arch"
)

//go:embed src
var source embed.FS

const (
	sourceDir = "src"
	fileName  = "unwedge_fault.ko"
)

// Name is the module's, as the kernel shows it in stacks: [unwedge_fault].
const Name = "unwedge_fault"

// GuestPath is where the guest agent looks for the module when the command line
// says unwedge.fault=module:NAME.
const GuestPath = "/lib/unwedge/" + fileName

// Faults lists what the module's parameter fault= can be; src/unwedge_fault.c
// says what each does.
func Faults() []string {
	return []string{"abba", "dstate", "softlockup", "hardlockup", "rcustall", "initcall", "mutex-leak", "workqueue"}
}

// Options name the kernel that the module is for.
type Options struct {
	// Release is the kernel's, such as 6.1.0-50-cloud-arm64, and Arch its
	// architecture. Both are needed.
	Release string
	Arch    arch.Arch
	// Version and Suite are the header package's; "" means the newest, and
	// candidate's default suite.
	Version, Suite string
	// Mirror is the Debian mirror; "" means the host's own.
	Mirror string
	// Store keeps headers and modules. It is needed.
	Store *cache.Store
}

// For names the kernel of a candidate. The version and suite of one that came
// from the archive are its headers' too.
func For(c *candidate.Candidate, mirror string, store *cache.Store) Options {
	o := Options{Release: c.Kernel.Release, Arch: c.Kernel.Arch, Mirror: mirror, Store: store}
	if spec, ok := strings.CutPrefix(c.Origin, "deb:"); ok {
		spec, o.Suite, _ = strings.Cut(spec, "@")
		_, o.Version, _ = strings.Cut(spec, "=")
	}
	return o
}

// Build returns the path of the module for a kernel, in the cache. It needs make
// and a compiler for the kernel's architecture; their absence is a
// *extmod.MissingToolError. A module that the kernel would refuse is an error. A kernel
// of a later Debian release than the host's may need its compiler and its libc.
func Build(ctx context.Context, o Options) (string, error) {
	h, err := candidate.ArchiveHeaders(ctx, o.Release, o.Version, o.Suite, candidate.Options{Arch: o.Arch, Mirror: o.Mirror, Cache: o.Store})
	if err != nil {
		return "", err
	}
	tools, err := extmod.FindTools(ctx, o.Arch, h.Dir)
	if err != nil {
		return "", err
	}
	files, err := sourceFiles()
	if err != nil {
		return "", err
	}
	key := cache.Key{Kind: "faultmod", Inputs: []string{"1", sourceSum(files), h.ID, string(o.Arch), tools.Version}}
	dir, err := o.Store.Get(ctx, key, func(ctx context.Context, dir string) error {
		module, err := tools.Build(ctx, extmod.Spec{Name: Name, Files: files, Headers: h.Dir})
		if err != nil {
			return fmt.Errorf("for %s: %w", o.Release, err)
		}
		if err := check(module, o.Release); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, fileName), module, 0o644)
	})
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, fileName), nil
}

// check makes sure that a kernel would take the module, as far as its release
// decides that (vermagic, include/linux/vermagic.h).
func check(module []byte, release string) error {
	info, err := modules.Info(fileName, module)
	if err != nil {
		return err
	}
	if got, _, _ := strings.Cut(info["vermagic"], " "); got != release {
		return fmt.Errorf("build fault module for %s: it came out for %q: the header package is another kernel's", release, got)
	}
	return nil
}

// sourceSum is the digest of everything that is compiled.
func sourceSum(files map[string][]byte) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(h, "%s %d\n%s", name, len(files[name]), files[name])
	}
	return hex.EncodeToString(h.Sum(nil))
}

func sourceFiles() (map[string][]byte, error) {
	entries, err := fs.ReadDir(source, sourceDir)
	if err != nil {
		return nil, fmt.Errorf("read fault module's source: %w", err)
	}
	files := map[string][]byte{}
	for _, e := range entries {
		if files[e.Name()], err = source.ReadFile(sourceDir + "/" + e.Name()); err != nil {
			return nil, fmt.Errorf("read fault module's source: %w", err)
		}
	}
	return files, nil
}
