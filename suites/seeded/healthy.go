package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/unwedge/unwedge/harness"
	"github.com/unwedge/unwedge/harness/matrix"
	"github.com/unwedge/unwedge/harness/plan"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// healthyCell is a boot that must come through.
type healthyCell struct {
	sc scenarios.Scenario
	c  *candidate.Candidate
}

// pauses are guests that do nothing for a while, and then go on.
var pauses = []string{"unwedge.fault=sleep:8s", "unwedge.fault=sleep:20s"}

// healthyCells are the boots in turn: each entropy source with one vCPU and
// with two, and a guest that pauses.
func healthyCells(a arch.Arch, kernels []*candidate.Candidate, n int) []healthyCell {
	var out []healthyCell
	for i := range n {
		t, err := scenarios.Builtin().Find("tiny")
		if err != nil {
			panic(err) // it is built in
		}
		t.Arch = []arch.Arch{a}
		cells := t.Cells()
		sc := cells[i%len(cells)]
		sc.CPUs = 1 + i/len(cells)%2
		if i%5 == 4 {
			word := pauses[i/5%len(pauses)]
			sc.Cmdline = append(sc.Cmdline[:len(sc.Cmdline):len(sc.Cmdline)], word)
			sc.Name += "," + word[len("unwedge.fault="):]
		}
		out = append(out, healthyCell{sc, kernels[i%len(kernels)]})
	}
	return out
}

// healthyBoots boots unmodified kernels and counts the false alarms.
func (s *suite) healthyBoots(ctx context.Context, a arch.Arch, stock *candidate.Candidate) error {
	if s.healthy == 0 {
		return nil
	}
	kernels := []*candidate.Candidate{stock}
	for _, arg := range s.more {
		c, err := s.plan.Candidate(ctx, arg, "")
		if err != nil {
			return err
		}
		if c.Kernel.Arch == a {
			kernels = append(kernels, c)
		}
	}
	for _, c := range kernels {
		s.update(func(card *Card) {
			card.addKernel(c)
		})
	}
	matrix.Run(ctx, healthyCells(a, kernels, s.healthy), s.jobs, s.bootHealthy, func(matrix.Done[healthyCell]) {})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

func (s *suite) bootHealthy(ctx context.Context, cell matrix.Cell[healthyCell]) (*result.Result, error) {
	j := cell.Job
	dir, err := os.MkdirTemp(s.out, "healthy-")
	if err != nil {
		return nil, fmt.Errorf("make run directory: %w", err)
	}
	h := Healthy{Cell: j.sc.Name, Arch: string(j.sc.Arch), Release: j.c.Kernel.Release, CPUs: j.sc.CPUs}
	req, err := s.plan.Request(ctx, j.sc, j.c)
	var unsupported *plan.UnsupportedError
	if errors.As(err, &unsupported) {
		return nil, os.RemoveAll(dir)
	}
	var res *result.Result
	if err == nil {
		req.Dir = dir
		res, err = harness.Boot(ctx, req)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	switch {
	case err != nil:
		h.Outcome, h.Note = "harness failed", err.Error()
	default:
		h.Outcome, h.Wall = res.Outcome, res.Times.Wall
		for _, st := range res.Stalls {
			if st.WentOn || st.Works || res.Outcome == scenarios.Booted {
				h.Suspected++
			}
		}
		if res.Outcome != scenarios.Booted {
			h.Note = res.Why
		}
	}
	if h.Outcome == scenarios.Booted {
		_ = os.RemoveAll(dir) // nothing to look up
	} else {
		h.Dir = filepath.Base(dir)
	}
	s.update(func(c *Card) { c.Healthy = append(c.Healthy, h) })
	fmt.Fprintf(s.log, "healthy   %s, %s, %d vCPUs: %s, %d suspicions, %s\n", h.Cell, h.Release, h.CPUs, h.Outcome, h.Suspected, seconds(h.Wall))
	return res, err
}
