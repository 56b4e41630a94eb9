package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"

	"github.com/unwedge/unwedge/harness"
	"github.com/unwedge/unwedge/harness/matrix"
	"github.com/unwedge/unwedge/harness/plan"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// healthyBoot is a boot that must come through.
type healthyBoot struct {
	index int
	sc    scenarios.Scenario
	c     *candidate.Candidate
	pause pause
	load  bool // the host's CPUs are kept busy beside it
}

// pause is a legitimate reason for a boot to seem to stand still.
type pause struct {
	name   string
	words  []string
	initrd func([]byte) ([]byte, error)
	slow   int64 // bytes a second that the disks give; 0 is no limit
}

// tinyPauses are PID 1's own: it does nothing, or works long and says how far
// it is.
var tinyPauses = []pause{
	{name: "sleep 8 s", words: []string{"unwedge.fault=sleep:8s"}},
	{name: "sleep 20 s", words: []string{"unwedge.fault=sleep:20s"}},
	{name: "alarm in 15 s", words: []string{"unwedge.fault=alarm:15s"}},
	{name: "real-time clock's alarm in 15 s", words: []string{"unwedge.fault=rtc:15s"}},
	{name: "check of 25 s", words: []string{"unwedge.fault=fsck:25s"}},
}

// distroPauses are units of the root file system's that multi-user.target waits
// for, and a slow disk.
var distroPauses = []pause{
	{name: "service ends by its time limit of 30 s", initrd: with(unit(rootUnits, "unwedge-pause.service", "multi-user.target",
		"[Unit]", "Description=a service that answers too late", "[Service]", "Type=oneshot", "TimeoutStartSec=30", "ExecStart=/bin/sleep infinity")...)},
	{name: "check of 40 s", initrd: with(unit(rootUnits, "unwedge-pause.service", "multi-user.target",
		"[Unit]", "Description=a long check", "[Service]", "Type=oneshot", "StandardOutput=journal+console", "ExecStart=/run/unwedge/agent fault fsck:40s")...)},
	{name: "disk of 2 MB/s", slow: 2 << 20},
}

// shortHealthy is the number of healthy boots of the short score, for each arch.
const shortHealthy = 2

// healthyKernels are what the healthy boots of an arch boot by default.
func healthyKernels(a arch.Arch) []string {
	return []string{plan.DefaultKernel(a), "deb:linux-image-cloud-" + a.Facts().Debian + "@trixie-backports"}
}

// rotation hands out the combinations of kernel, cell and number of vCPUs in
// turn, in an order that is mixed and always the same.
type rotation struct {
	boots  []healthyBoot
	pauses []pause
	given  int
}

func newRotation(a arch.Arch, kernels []*candidate.Candidate, names []string, pauses []pause) (*rotation, error) {
	r := &rotation{pauses: pauses}
	for _, c := range kernels {
		for _, name := range names {
			t, err := scenarios.Builtin().Find(name)
			if err != nil {
				return nil, err
			}
			t.Arch = []arch.Arch{a}
			for _, sc := range t.Cells() {
				if plan.Supported(sc, c.Kernel) != nil {
					continue
				}
				for cpus := 1; cpus <= 2; cpus++ {
					sc.CPUs = cpus
					r.boots = append(r.boots, healthyBoot{sc: sc, c: c})
				}
			}
		}
	}
	rng := rand.New(rand.NewPCG(1, uint64(len(r.boots))))
	rng.Shuffle(len(r.boots), func(i, j int) { r.boots[i], r.boots[j] = r.boots[j], r.boots[i] })
	return r, nil
}

// next is the next boot: every fourth pauses, every third is on a loaded host,
// and in each round they are others.
func (r *rotation) next() healthyBoot {
	n, round := r.given, r.given/len(r.boots)
	r.given++
	h := r.boots[n%len(r.boots)]
	if (n+round)%4 == 3 {
		h.pause = r.pauses[n/4%len(r.pauses)]
		h.sc.Cmdline = slices.Concat(h.sc.Cmdline, h.pause.words)
	}
	h.load = (n+round)%3 == 1
	return h
}

// healthyList are n boots, two in five with a distribution; whatever their
// number, they are a mixture of all there is.
func healthyList(a arch.Arch, kernels []*candidate.Candidate, n int) ([]healthyBoot, error) {
	tiny, err := newRotation(a, kernels, []string{"tiny", "random"}, tinyPauses)
	if err != nil {
		return nil, err
	}
	distro, err := newRotation(a, kernels, []string{"distro"}, distroPauses)
	if err != nil {
		return nil, err
	}
	var out []healthyBoot
	for i := range n {
		from := tiny
		if i%5 == 1 || i%5 == 3 {
			from = distro
		}
		h := from.next()
		h.index = i
		out = append(out, h)
	}
	return out, nil
}

// healthyOf are the healthy boots of an arch.
func (s *suite) healthyOf(ctx context.Context, a arch.Arch) ([]healthyBoot, error) {
	args := s.kernels
	if len(args) == 0 {
		args = healthyKernels(a)
	}
	if s.short {
		args = args[:1]
	}
	var kernels []*candidate.Candidate
	for _, arg := range args {
		c, err := s.plan.Candidate(ctx, arg, "")
		if err != nil {
			return nil, err
		}
		if c.Kernel.Arch == a {
			kernels = append(kernels, c)
		}
	}
	if len(kernels) == 0 {
		return nil, fmt.Errorf("healthy boots for %s: none of the kernels is for it", a)
	}
	return healthyList(a, kernels, s.healthy)
}

// healthyBoots boots unmodified kernels and counts the false alarms.
func (s *suite) healthyBoots(ctx context.Context, a arch.Arch) error {
	if s.healthy == 0 {
		return nil
	}
	list, err := s.healthyOf(ctx, a)
	if err != nil {
		return err
	}
	matrix.Run(ctx, list, s.jobs, s.bootHealthy, func(matrix.Done[healthyBoot]) {})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// harnessFailed is the outcome of a boot that says nothing about the kernel.
const harnessFailed scenarios.Outcome = "harness failed"

// plannedHealthy is the entry of a boot in the results, before it is made.
func (s *suite) plannedHealthy(j healthyBoot) Healthy {
	return Healthy{
		Index: j.index, Cell: j.sc.Name, Arch: string(j.sc.Arch), Release: j.c.Kernel.Release, CPUs: j.sc.CPUs,
		Pause: j.pause.name, Loaded: j.load && s.load > 0,
	}
}

func (s *suite) bootHealthy(ctx context.Context, cell matrix.Cell[healthyBoot]) (*result.Result, error) {
	j := cell.Job
	h := s.plannedHealthy(j)
	if s.only != nil && !s.only.MatchString("healthy/"+h.Arch+"/"+h.Cell+" "+h.Release+h.how()) || s.healthyKnown(h) {
		return nil, nil
	}
	res, dir, err := s.runHealthy(ctx, j, h.Loaded)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		h.Outcome, h.Note = harnessFailed, err.Error()
	} else {
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
		h.Dir, _ = filepath.Rel(s.out, dir)
	}
	s.update(func(c *Card) {
		c.addKernel(j.c)
		c.Healthy = append(c.Healthy, h)
	})
	fmt.Fprintf(s.log, "healthy   %d: %s, %s, %d vCPUs%s: %s, %d suspicions, %s %s\n", h.Index, h.Cell, h.Release, h.CPUs, h.how(), h.Outcome, h.Suspected, seconds(h.Wall), h.Note)
	return res, err
}

// how says what else there was to a boot.
func (h Healthy) how() string {
	out := ""
	if h.Pause != "" {
		out += ", " + h.Pause
	}
	if h.Loaded {
		out += ", loaded host"
	}
	return out
}

// healthyKnown says whether an earlier run did this boot.
func (s *suite) healthyKnown(h Healthy) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.card.Healthy, func(k Healthy) bool {
		return k.Index == h.Index && k.Arch == h.Arch && k.Cell == h.Cell && k.Release == h.Release
	})
}

// runHealthy makes one boot, in a directory of its own.
func (s *suite) runHealthy(ctx context.Context, j healthyBoot, load bool) (res *result.Result, dir string, err error) {
	dir = filepath.Join(s.out, "healthy", fmt.Sprintf("%s-%03d", j.sc.Arch, j.index))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, dir, fmt.Errorf("make run directory: %w", err)
	}
	req, err := s.plan.Request(ctx, j.sc, j.c)
	if err != nil {
		return nil, dir, err
	}
	req.Dir = dir
	if load || j.pause.name != "" {
		req.Calibration = nil // what is slow on purpose must not make the limits wider
	}
	if j.pause.initrd != nil {
		file := filepath.Join(dir, initrdName)
		defer os.Remove(file)
		if err := changeInitrd(&req, file, j.pause.initrd); err != nil {
			return nil, dir, err
		}
	}
	for i := range req.Machine.Disks {
		req.Machine.Disks[i].BPS = j.pause.slow
	}
	if load {
		stop, err := loaded(ctx, s.load)
		if err != nil {
			return nil, dir, err
		}
		defer stop()
	}
	res, err = harness.Boot(ctx, req)
	return res, dir, err
}
