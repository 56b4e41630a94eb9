package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/unwedge/unwedge/harness/matrix"
	"github.com/unwedge/unwedge/harness/plan"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// suite is one run of the score.
type suite struct {
	options
	plan *plan.Planner
	log  io.Writer
	// stdout is where the results go.
	stdout io.Writer

	mu   sync.Mutex // guards card and what is written from it
	card Card
}

func run(ctx context.Context, o options, stdout, stderr io.Writer) error {
	planner, err := plan.New("score")
	if err != nil {
		return err
	}
	s := &suite{options: o, plan: planner, log: stderr, stdout: stdout}
	if err := s.goOn(); err != nil {
		return err
	}
	fmt.Fprintf(stderr, "seed %d, in %s\n", o.seed, o.out)
	s.update(func(c *Card) {
		c.Version, c.Host = version(), fmt.Sprintf("%s, %d CPUs", runtime.GOARCH, runtime.NumCPU())
	})
	for _, a := range o.arches {
		if err := s.arch(ctx, a); err != nil {
			return err
		}
	}
	switch {
	case o.list:
		return nil
	case o.short:
		return s.card.allRight() // each boot has had its line
	case o.json:
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		if err := enc.Encode(&s.card); err != nil {
			return fmt.Errorf("print results: %w", err)
		}
	default:
		s.card.markdown(stdout, o.command(), s.explained())
	}
	return nil
}

// version is the commit that this program was built from, where the build knows
// it, with a plus sign where files were changed.
func version() string {
	v, changed := "of an unknown commit", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision" && len(s.Value) >= 12:
				v = s.Value[:12]
			case s.Key == "vcs.modified" && s.Value == "true":
				changed = "+"
			}
		}
	}
	return v + changed
}

// arch makes the score of one architecture.
func (s *suite) arch(ctx context.Context, a arch.Arch) error {
	arg := s.kernel
	if arg == "" {
		arg = plan.DefaultKernel(a)
	}
	c, err := s.plan.Candidate(ctx, arg, a)
	if err != nil {
		return err
	}
	s.update(func(card *Card) { card.addKernel(c) })
	b := &bench{suite: s, arch: a, stock: c}
	places, err := b.places(ctx)
	if err != nil {
		return err
	}
	if s.list {
		return s.show(ctx, a, places)
	}
	matrix.Run(ctx, places, s.jobs, b.fill, func(matrix.Done[spot]) {})
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	return s.healthyBoots(ctx, a)
}

// show prints what would be booted: a line for each place in the score, with the
// mutants that are drawn for it, and one for each healthy boot.
func (s *suite) show(ctx context.Context, a arch.Arch, places []spot) error {
	for _, p := range places {
		var ids []string
		for _, sd := range p {
			ids = append(ids, sd.truth.ID)
		}
		fmt.Fprintf(s.stdout, "%s: %s\n", p[0].truth.Phase, strings.Join(ids, " "))
	}
	list, err := s.healthyOf(ctx, a)
	for _, j := range list {
		h := s.plannedHealthy(j)
		fmt.Fprintf(s.stdout, "healthy %d: %s, %s, %d vCPUs%s\n", h.Index, h.Cell, h.Release, h.CPUs, h.how())
	}
	return err
}
