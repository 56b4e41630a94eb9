package session

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/unwedge/unwedge/harness/bisect"
	"github.com/unwedge/unwedge/harness/internal/bisect/search"
	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/diagnose"
	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/plan"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/images/kbuild"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// Checkout judges the kernel of one source tree, for `git bisect run`.
type Checkout struct {
	Tree  string
	Arch  arch.Arch
	Cell  scenarios.Scenario
	Build plan.Build
	// Like is the failure that is bad: a result.json, or a signature; "" for any.
	Like string
	// Tries is how many boots must be good, for an intermittent failure.
	Tries int
}

// Judge builds the tree and boots it. The verdict is Skip where the tree does not build,
// err is why then; every other error is no verdict.
func (s Session) Judge(ctx context.Context, c Checkout) (search.Verdict, error) {
	if c.Tries < 1 {
		return 0, usage.Errorf("--tries %d: use 1 or more", c.Tries)
	}
	want, err := likeOf(c.Like)
	if err != nil {
		return 0, err
	}
	if _, err := s.Planner.Host(ctx, c.Arch); err != nil { // no QEMU: then a build is of no use
		return 0, err
	}
	built, err := s.buildHere(ctx, c)
	if errors.As(err, new(*kbuild.TreeError)) || errors.As(err, new(*kbuild.ConfigError)) {
		return search.Skip, err
	}
	if err != nil {
		return 0, err
	}
	for range c.Tries {
		v, why, err := s.judgeOnce(ctx, c, built, want)
		if err != nil {
			return 0, err
		}
		s.Say(fmt.Sprintf("%s: %s", v, console.SanitizeMax(why, 300)))
		if v != search.Good {
			return v, nil
		}
	}
	return search.Good, nil
}

// buildHere builds the tree, in a directory that its next build finds again.
func (s Session) buildHere(ctx context.Context, c Checkout) (*kbuild.Built, error) {
	dir, err := filepath.Abs(c.Tree)
	if err != nil {
		return nil, err
	}
	spec, identity, err := c.Build.SpecFor(ctx, s.Planner, c.Cell)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(dir + "\x00" + identity))
	spec.Source, spec.Output = dir, filepath.Join(s.Planner.State, "bisect-run", hex.EncodeToString(sum[:8]))
	if err := kbuild.Check(ctx, spec); err != nil {
		return nil, err
	}
	return kbuild.Build(ctx, spec)
}

// slowTries is how often a boot is made again that was still at work at its deadline.
const slowTries = 2

// decided boots once, and again while that decides nothing.
func decided(want bisect.Boot, boot func() (bisect.Boot, error)) (b bisect.Boot, err error) {
	for range 1 + slowTries {
		if b, err = boot(); err != nil || !b.Undecided(want) {
			break
		}
	}
	return b, err
}

// judgeOnce boots once, and again where that decides nothing.
func (s Session) judgeOnce(ctx context.Context, c Checkout, built *kbuild.Built, want bisect.Boot) (search.Verdict, string, error) {
	name := built.Release
	b, err := decided(want, func() (bisect.Boot, error) {
		res, err := s.boot(ctx, c.Cell, bisect.Candidate{ID: name, Name: name}, bisect.Kernel{Arg: filepath.Dir(built.Vmlinux)})
		if err != nil {
			return bisect.Boot{}, err
		}
		return bisect.BootOf(res), nil
	})
	if err != nil {
		return 0, "", err
	}
	v, why := bisect.Judge(b, want, c.Like == "")
	if !b.Expected {
		why += "; signature " + b.Signature + "; run in " + b.Dir
	}
	return v, why, nil
}

// likeOf reads --like.
func likeOf(arg string) (bisect.Boot, error) {
	if arg == "" {
		return bisect.Boot{}, nil
	}
	if st, err := os.Stat(arg); err != nil || !st.Mode().IsRegular() {
		if !diagnose.IsSignature(arg) { // no boot would be like it, and git would skip commit after commit
			return bisect.Boot{}, fmt.Errorf("--like %s: neither a file nor a signature such as hang/entropy-starvation: use the absolute path of the bad end's result.json, as git runs this at the top of the tree", arg)
		}
		return bisect.Boot{Outcome: "failed", Signature: arg}, nil
	}
	r, err := result.Read(arg)
	if err != nil {
		return bisect.Boot{}, fmt.Errorf("--like: %w", err)
	}
	b := bisect.BootOf(r)
	if b.Expected {
		return b, fmt.Errorf("--like %s: that boot did not fail: use the result of the bad end", arg)
	}
	return b, nil
}
