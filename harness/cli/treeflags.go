package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/plan"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/images/kbuild"
	"github.com/unwedge/unwedge/scenarios"
)

// treeFlags say how to build a kernel.
type treeFlags struct {
	config    string
	fragments []string
	llvm      bool
	jobs      int
}

func (f *treeFlags) add(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&f.config, "config", "defconfig", "what to start from: a .config FILE, deb:PACKAGE of a kernel, deb:linux-config-SERIES/FLAVOUR, or a target such as defconfig or tinyconfig")
	fs.StringArrayVar(&f.fragments, "fragment", nil, "merge this configuration fragment too: a FILE, or one of "+strings.Join(kbuild.FragmentNames(), ", ")+" (repeatable)")
	fs.BoolVar(&f.llvm, "llvm", false, "build with clang and LLVM's tools instead of gcc and binutils")
	fs.IntVarP(&f.jobs, "jobs", "j", 0, "jobs at a time (default: one per CPU)")
}

// spec is what the flags ask for; the fragments that are needed go before the
// user's.
func (f *treeFlags) spec(ctx context.Context, o candidate.Options, needed []string) (s kbuild.Spec, err error) {
	if f.jobs < 0 {
		return s, usage.Errorf("--jobs %d: use 1 or more", f.jobs)
	}
	s = kbuild.Spec{Arch: o.Arch, LLVM: f.llvm, Jobs: f.jobs}
	for _, name := range slices.Concat(needed, f.fragments) {
		fragment, err := kbuild.FindFragment(name, o.Arch)
		if err != nil {
			return s, usage.Wrap(err)
		}
		s.Fragments = append(s.Fragments, fragment)
	}
	s.Config, err = kbuild.ResolveConfig(ctx, f.config, o)
	if errors.As(err, new(*kbuild.UnknownConfigError)) || errors.As(err, new(*kbuild.BadConfigError)) {
		err = usage.Wrap(err)
	}
	return s, err
}

// specFor is the spec for a scenario, and its identity. What the scenario does not
// load is not built.
func (f *treeFlags) specFor(ctx context.Context, p *plan.Planner, sc scenarios.Scenario) (s kbuild.Spec, identity string, err error) {
	o := candidate.Options{Arch: sc.Arch, Mirror: p.Mirror, Cache: p.Store}
	if s, err = f.spec(ctx, o, sc.Fragments()); err != nil {
		return s, "", err
	}
	s.NoModules = !sc.LoadsModules()
	identity, err = f.identity(ctx, s)
	return s, identity, err
}

// identity is all that decides what is built from a source, for a journal: the
// compiler and the linker too, as commits that one of them does not build another
// one may, and the kernels of two are not to be compared.
func (f *treeFlags) identity(ctx context.Context, s kbuild.Spec) (string, error) {
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

// toolVersions is what the compiler and the linker call themselves; less of it where
// one is missing, which the check of the toolchain says better.
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
