// Package kbuild configures and builds a Linux kernel tree, out of tree and
// reproducibly. It distinguishes a source that does not build from a host that cannot
// build it.
package kbuild

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/unwedge/unwedge/images/kbuild/toolchain"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// Spec says what to build from what. Source, Output and Arch are needed.
type Spec struct {
	// Source is a clean kernel tree; nothing is written into it.
	Source string
	// Output is make's O=. It is created where it is missing, and built on where
	// it holds an earlier build. One build at a time uses it, across processes.
	Output string
	// Arch is what the kernel is for.
	Arch arch.Arch
	// Config is what to start from: a .config file, or a target of the tree, such
	// as defconfig and tinyconfig. "" means defconfig.
	Config string
	// Fragments are merged over it, the later over the earlier.
	Fragments []Fragment
	// LLVM compiles and links with LLVM's tools (make's LLVM=1).
	LLVM bool
	// Cross is the prefix of the compiler's programs (make's CROSS_COMPILE). ""
	// finds the one of this host where Arch is not its own.
	Cross string
	// Jobs is make's -j; 0 is the number of CPUs.
	Jobs int
	// StepCounts is a file that keeps how many steps builds took, so that the next one
	// of the kind can say how far it is; "" keeps nothing.
	StepCounts string
	// Yield, where it is not nil, builds with the lowest priority until it is
	// closed, so that what else runs, a guest above all, is not slowed down. Only
	// root gets the priority back.
	Yield <-chan struct{}
	// Log is written everything that make prints, beside the file LogName in
	// Output. May be nil.
	Log io.Writer
	// Targets are what to make; nil means the boot image, and modules where the
	// configuration has any.
	Targets []string
	// NoModules makes none by default: what is booted loads none. Fragments that ask
	// for an option as a module are obeyed all the same.
	NoModules bool
	// NoCcache does without ccache even where there is one.
	NoCcache bool
}

// LogName is the file in Output that holds what make printed last.
const LogName = "unwedge-build.log"

// The identity that every build is given, so that who built it, when, where and
// how often does not change the kernel (Documentation/kbuild/reproducible-builds.rst).
const (
	buildTimestamp = "Thu Jan  1 00:00:00 UTC 1970"
	buildVersion   = "1"
	buildUser      = "unwedge"
	buildHost      = "unwedge"
)

// Built is a kernel that was built. Output itself is what `unwedge boot` takes.
type Built struct {
	// Image is the boot image, Vmlinux the ELF file that it was made from.
	Image, Vmlinux string
	// Modules is the directory with modules.order, Output itself, or "" where no
	// module was built.
	Modules string
	// Release is what `uname -r` says.
	Release string
	// BuildID is the GNU build ID in hex, "" for a kernel without one.
	BuildID string
	// Elapsed is how long it took, configuring included.
	Elapsed time.Duration
}

// check says what is wrong with the Spec, by a *SpecError or a *NotATreeError, and
// makes its paths absolute.
func (s *Spec) check() error {
	if !s.Arch.Valid() {
		return &SpecError{fmt.Sprintf("unknown architecture %q", s.Arch)}
	}
	if s.Jobs < 0 || s.Jobs > 4096 {
		return &SpecError{fmt.Sprintf("%d jobs: use 1 to 4096, or 0 for one per CPU", s.Jobs)}
	}
	if s.Jobs == 0 {
		s.Jobs = runtime.NumCPU()
	}
	for _, p := range []*string{&s.Source, &s.Output} {
		if *p == "" {
			return &SpecError{"a source and an output directory are needed"}
		}
		abs, err := filepath.Abs(*p)
		if err != nil {
			return fmt.Errorf("build kernel: %w", err)
		}
		if strings.ContainsAny(abs, ": \t\n") {
			return &SpecError{fmt.Sprintf("%q: make cannot build a kernel in a path with spaces or colons", abs)}
		}
		*p = abs
	}
	if sameFile(s.Source, s.Output) { // make would build in it, over its .config
		return &SpecError{fmt.Sprintf("the output directory %s is the source itself: name another one", s.Output)}
	}
	if exists(filepath.Join(s.Output, ".config")) && !exists(filepath.Join(s.Output, LogName)) {
		return &SpecError{fmt.Sprintf("the output directory %s has a .config that unwedge did not write and would overwrite: name another directory, and that .config with --config", s.Output)}
	}
	return IsTree(s.Source)
}

// sameFile says that two paths lead to one file or directory.
func sameFile(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}

// NotATreeError says that a directory holds no kernel source.
type NotATreeError struct{ Dir, Missing string }

func (e *NotATreeError) Error() string {
	return fmt.Sprintf("%s: not a Linux kernel source tree: it has no %s", e.Dir, e.Missing)
}

// IsTree returns a *NotATreeError where dir is not the top of a kernel source.
func IsTree(dir string) error {
	for _, name := range []string{"Makefile", "Kconfig", "scripts/kconfig", "init/main.c"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return &NotATreeError{dir, name}
		}
	}
	return nil
}

// Build configures Source and builds it. The error is a *SpecError or a *NotATreeError
// where that cannot be tried, a *TreeError where the source does not build, a
// *ConfigError where a wanted option does not hold, a *HostError where this host is to
// blame, and the context's cause where that ended.
func Build(ctx context.Context, s Spec) (*Built, error) {
	started := time.Now()
	if err := s.check(); err != nil {
		return nil, err
	}
	m, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	defer m.close()
	stamped := m.configured()
	if !stamped {
		if err := s.configure(ctx, m); err != nil {
			return nil, err
		}
		if err := s.checkConfigured(ctx); err != nil {
			return nil, err
		}
	}
	targets, err := s.targets()
	if err != nil {
		return nil, err
	}
	if err := m.run(ctx, building, targets...); err != nil {
		return nil, err
	}
	if !stamped && s.Targets == nil {
		m.leaveStamp(started)
	}
	b, err := s.built()
	if err != nil {
		return nil, err
	}
	b.Elapsed = time.Since(started)
	return b, nil
}

// targets are what to make by the configuration. The list of modules that an earlier
// build left goes away where there are to be none: make would leave it, and whoever
// boots the directory take them for this kernel's.
func (s Spec) targets() ([]string, error) {
	if s.Targets != nil {
		return s.Targets, nil
	}
	targets := []string{s.Arch.Facts().BootTarget}
	c, err := readSettings(filepath.Join(s.Output, ".config"))
	if err != nil {
		return nil, hostFault("build", err)
	}
	if c["CONFIG_MODULES"] == "y" && (!s.NoModules || s.asksForModules()) {
		return append(targets, "modules"), nil
	}
	if err := os.Remove(filepath.Join(s.Output, "modules.order")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, hostFault("build", err)
	}
	return targets, nil
}

// asksForModules says whether a fragment wants an option as a module.
func (s Spec) asksForModules() bool {
	return slices.ContainsFunc(s.Fragments, func(f Fragment) bool {
		return slices.ContainsFunc(f.Settings, func(o Setting) bool { return o.Value == "m" })
	})
}

// Configure does the first part of Build: it leaves a .config in Output.
func (s Spec) Configure(ctx context.Context) error {
	if err := s.check(); err != nil {
		return err
	}
	m, err := s.open(ctx)
	if err != nil {
		return err
	}
	defer m.close()
	return s.configure(ctx, m)
}

// Tools finds what the Spec is built with.
func (s Spec) Tools() (toolchain.Tools, error) { return toolchain.Find(s.request()) }

// built finds what a build left.
func (s Spec) built() (*Built, error) {
	b := &Built{Image: filepath.Join(s.Output, s.Arch.Facts().BootImages[0]), Vmlinux: filepath.Join(s.Output, "vmlinux")}
	for _, p := range []string{b.Image, b.Vmlinux} {
		if _, err := os.Stat(p); err != nil && s.Targets == nil {
			return nil, fmt.Errorf("build kernel: make succeeded, but left no %s", p)
		}
	}
	release, err := os.ReadFile(filepath.Join(s.Output, "include/config/kernel.release"))
	if err != nil {
		return nil, fmt.Errorf("build kernel: %w", err)
	}
	b.Release = strings.TrimSpace(string(release))
	if st, err := os.Stat(filepath.Join(s.Output, "modules.order")); err == nil && st.Size() > 0 {
		b.Modules = s.Output
	}
	if b.BuildID, err = buildID(b.Vmlinux); err != nil && s.Targets == nil {
		return nil, err
	}
	return b, nil
}
