package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

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
	fs.StringVar(&f.config, "config", "defconfig", "configuration to start from: a .config file, deb:PACKAGE for a packaged kernel's, or a target such as defconfig or tinyconfig")
	fs.StringArrayVar(&f.fragments, "fragment", nil, "configuration to merge over it, beside what the scenario needs: a file, or one of "+strings.Join(kbuild.FragmentNames(), ", "))
	fs.BoolVar(&f.llvm, "llvm", false, "build with clang and lld")
	fs.IntVarP(&f.jobs, "jobs", "j", 0, "make's -j (default: one for each CPU)")
}

// spec is what the flags ask for, in a scenario. identity is all that decides what
// is built from a source, for a journal.
func (f *treeFlags) spec(ctx context.Context, p *plan.Planner, sc scenarios.Scenario) (s kbuild.Spec, identity string, err error) {
	if f.jobs < 0 {
		return s, "", usageError{fmt.Errorf("-j %d: use 1 or more", f.jobs)}
	}
	s = kbuild.Spec{Arch: sc.Arch, LLVM: f.llvm, Jobs: f.jobs}
	if s.Config, err = kbuild.ResolveConfig(ctx, f.config, candidate.Options{Arch: sc.Arch, Mirror: p.Mirror, Cache: p.Store}); err != nil {
		return s, "", err
	}
	for _, name := range append(kbuild.ScenarioFragments(sc), f.fragments...) {
		fragment, err := kbuild.FindFragment(name, sc.Arch)
		if err != nil {
			return s, "", usageError{err}
		}
		s.Fragments = append(s.Fragments, fragment)
	}
	identity, err = f.identity(s)
	return s, identity, err
}

func (f *treeFlags) identity(s kbuild.Spec) (string, error) {
	base := s.Config
	switch text, err := os.ReadFile(s.Config); {
	case err == nil:
		sum := sha256.Sum256(text)
		base = "sha256:" + hex.EncodeToString(sum[:])
	case !errors.Is(err, os.ErrNotExist):
		return "", usageError{fmt.Errorf("--config: %w", err)}
	}
	b, err := json.Marshal(struct {
		Config    string
		Fragments []kbuild.Fragment
		LLVM      bool
	}{base, s.Fragments, s.LLVM})
	return string(b), err
}
