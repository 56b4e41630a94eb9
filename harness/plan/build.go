package plan

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/images/cache"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/images/kbuild"
	"github.com/unwedge/unwedge/scenarios"
)

// Build says how to build kernels.
type Build struct {
	// Config is what to start from: a .config file, deb:PACKAGE, deb:linux-config-SERIES/FLAVOUR,
	// or a make target.
	Config string
	// Fragments are merged into it, after those that the scenario needs: files, or names
	// of kbuild's own.
	Fragments []string
	LLVM      bool // clang and LLVM's tools instead of gcc and binutils
	Jobs      int  // at a time; 0 for one per CPU
}

// Spec returns what kbuild needs. The fragments that a scenario needs are merged before
// the user's.
func (b Build) Spec(ctx context.Context, o candidate.Options, needed []string) (s kbuild.Spec, err error) {
	if b.Jobs < 0 {
		return s, usage.Errorf("--jobs %d: use 1 or more", b.Jobs)
	}
	if o.Cache == nil {
		if o.Cache, err = cache.Default(); err != nil {
			return s, err
		}
	}
	s = kbuild.Spec{Arch: o.Arch, LLVM: b.LLVM, Jobs: b.Jobs, StepCounts: filepath.Join(o.Cache.Dir(), "build-steps.json")}
	for _, name := range slices.Concat(needed, b.Fragments) {
		fragment, err := kbuild.FindFragment(name, o.Arch)
		if err != nil {
			return s, usage.Wrap(err)
		}
		s.Fragments = append(s.Fragments, fragment)
	}
	s.Config, err = kbuild.ResolveConfig(ctx, b.Config, o)
	if errors.As(err, new(*kbuild.UnknownConfigError)) || errors.As(err, new(*kbuild.BadConfigError)) {
		err = usage.Wrap(err)
	}
	return s, err
}

// SpecFor returns the Spec for a scenario, and a text that differs where builds of one
// source may differ. Modules that the scenario does not load are not built.
func (b Build) SpecFor(ctx context.Context, p *Planner, sc scenarios.Scenario) (s kbuild.Spec, identity string, err error) {
	o := candidate.Options{Arch: sc.Arch, Mirror: p.Mirror, Cache: p.Store}
	if s, err = b.Spec(ctx, o, sc.Fragments()); err != nil {
		return s, "", err
	}
	s.NoModules = !sc.LoadsModules()
	identity, err = buildIdentity(ctx, s)
	return s, identity, err
}

// buildIdentity is all that decides what is built from a source. It includes the compiler
// and the linker: another one may build commits that this one does not, and kernels of
// two compilers are not comparable.
func buildIdentity(ctx context.Context, s kbuild.Spec) (string, error) {
	base := s.Config
	switch text, err := os.ReadFile(s.Config); {
	case err == nil:
		sum := sha256.Sum256(text)
		base = "sha256:" + hex.EncodeToString(sum[:])
	case !errors.Is(err, os.ErrNotExist):
		return "", usage.Errorf("--config: %w", err)
	}
	b, err := json.Marshal(struct {
		Config    string
		Fragments []kbuild.Fragment
		LLVM      bool
		Tools     []string
	}{base, s.Fragments, s.LLVM, toolVersions(ctx, s)})
	return string(b), err
}

// toolVersions are the versions that the compiler and the linker print. A missing tool
// is left out: the check of the toolchain reports it.
func toolVersions(ctx context.Context, s kbuild.Spec) []string {
	tools, err := s.Tools()
	if err != nil {
		return nil
	}
	var out []string
	for _, tool := range []string{tools.CC, tools.LD} {
		cmd := exec.CommandContext(ctx, tool, "--version")
		cmd.Env = append(os.Environ(), "LC_ALL=C")
		b, err := cmd.Output()
		if err != nil {
			return out
		}
		line, _, _ := strings.Cut(string(b), "\n")
		out = append(out, line)
	}
	return out
}
