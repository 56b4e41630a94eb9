// Package sample makes up Results, as many as are asked for, to test and measure the
// history with. The same number gives the same Result.
package sample

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/images/agentproto"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"
	"github.com/unwedge/unwedge/scenarios/stage"
)

// Begin is when the first run began.
var Begin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Boot is a run to be made up.
type Boot struct {
	// Release is the kernel's, Build tells builds of one release apart.
	Release, Build string
	// Cell is the scenario's name, such as "tiny/x86_64/none/tiny".
	Cell string
	// Hang is the signature that it hangs with; empty for a good boot.
	Hang string
	// Warning is the title of a finding, empty for none.
	Warning string
	// Host and Accel are what it ran on; by default one class of host, and TCG.
	Host  string
	Accel result.Accel
	// At is when it began.
	At time.Time
	// Slow is by which part all its stages are later: 0.1 is 10 %.
	Slow float64
	// Initcalls are how long the kernel's initcalls took, with initcall_debug.
	Initcalls map[string]time.Duration
	// Noise is the generator of its times; nil makes them all alike.
	Noise *rand.Rand
}

// Result makes the Result.
func (b Boot) Result() *result.Result {
	axes := append(strings.Split(b.Cell, "/"), "", "", "") // scenario, architecture, entropy, initramfs
	r := &result.Result{
		Schema: result.Schema, Version: "sample", Expected: b.Hang == "", Outcome: scenarios.Booted, Stage: stage.MultiUser,
		Scenario: scenarios.Scenario{Name: b.Cell, Arch: arch.Arch(axes[1]), Entropy: scenarios.Entropy(axes[2]), Initramfs: scenarios.Initramfs(axes[3]), MemoryMiB: 512, CPUs: 1},
		Kernel:   result.Kernel{Origin: "sample", Release: b.Release, BuildID: buildID(b.Release + b.Build), SHA256: buildID("sha" + b.Release + b.Build)},
		Host:     result.Host{Accel: result.TCG, QEMUVersion: "7.2.22", Class: "Example CPU, 2 CPUs"},
		Dir:      "/nonexistent/" + b.Release,
		Times:    result.Times{Started: b.At, Verdict: 9 * time.Second, Wall: 10 * time.Second},
	}
	for _, name := range slices.Sorted(maps.Keys(b.Initcalls)) {
		r.Initcalls = append(r.Initcalls, result.Initcall{Name: name, Took: b.Initcalls[name]})
	}
	if b.Host != "" {
		r.Host.Class = b.Host
	}
	if b.Accel != "" {
		r.Host.Accel = b.Accel
	}
	for _, s := range []struct {
		name stage.Stage
		at   float64
	}{{stage.Initramfs, 3}, {stage.SwitchRoot, 6}, {stage.System, 7}, {stage.MultiUser, 12}} {
		at := s.at * (1 + b.Slow)
		if b.Noise != nil {
			at *= 1 + 0.05*b.Noise.NormFloat64()
		}
		if b.Hang != "" && s.at > 6 {
			break
		}
		r.Reports = append(r.Reports, agentproto.Report{V: 1, Stage: s.name, Uptime: at})
	}
	if b.Hang != "" {
		r.Outcome, r.Stage = scenarios.Hung, stage.SwitchRoot
		r.Diagnosis = &result.Diagnosis{Kind: result.KindHang, Cause: result.CauseMutex, Signature: b.Hang, Title: "hang: " + b.Hang, Confidence: result.Likely}
	}
	if b.Warning != "" {
		r.Findings = []result.Finding{{Title: b.Warning, Kind: result.FindingWarning, Severity: result.Warning, Count: 1}}
	}
	return r
}

// buildID makes 40 hex digits of a name.
func buildID(name string) string {
	var a, b uint64 = 14695981039346656037, 1099511628211 // FNV-1a
	for _, c := range []byte(name) {
		a = (a ^ uint64(c)) * 1099511628211
		b = (b + uint64(c)) * 6364136223846793005
	}
	return fmt.Sprintf("%016x%016x%08x", a, b, uint32(a^b))
}

// Many makes n runs of some hundred kernels in sixteen cells, on two kinds of hosts. A
// cell that began to hang with some kernel goes on to hang in every fifth boot, and each
// hundredth boot fails for a reason that comes and goes.
func Many(n int, each func(*result.Result) error) error {
	noise := rand.New(rand.NewPCG(1, 2))
	perKernel := max(1, min(200, n/10))
	for i := range n {
		k := i / perKernel
		cell := i % 16
		b := Boot{
			Release: fmt.Sprintf("7.%d.0-rc%d-%05d-g%012x", k/64, k/8%8+1, k%8*100, k*7919),
			Cell:    fmt.Sprintf("distro/%s/%s/%s", []string{"x86_64", "aarch64"}[cell&1], []string{"virtio-rng", "none"}[cell>>1&1], []string{"tiny", "dracut", "dracut-fips", "mine"}[cell>>2]),
			At:      Begin.Add(time.Duration(i) * 5 * time.Minute), Noise: noise,
			Host: []string{"Example CPU, 2 CPUs", "Another CPU, 8 CPUs"}[i/16&1],
		}
		switch x := noise.IntN(100); {
		case k > 40*cell && x < 20 && cell < 6:
			b.Hang = fmt.Sprintf("hang/mutex/demo_lock_%d", cell)
		case x == 20:
			b.Hang = fmt.Sprintf("panic/oops/demo_read_%d", noise.IntN(12))
		case x < 25:
			b.Warning = fmt.Sprintf("WARNING in demo_init_%d", x)
		}
		if err := each(b.Result()); err != nil {
			return err
		}
	}
	return nil
}
