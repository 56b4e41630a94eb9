// Package vcpu observes a guest's vCPUs from outside: whether they run or idle (by
// the host's accounting of their threads, which costs the guest nothing) and where
// they are (by their registers, read through QMP).
package vcpu

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Monitor is the part of a QMP connection that is needed here.
type Monitor interface {
	Execute(ctx context.Context, cmd string, args, out any) error
}

// CPU is one vCPU and the host thread that runs it.
type CPU struct {
	Index  int `json:"cpu-index"`
	Thread int `json:"thread-id"`
}

// List asks QEMU for the vCPUs; it does not stop them (QMP query-cpus-fast).
func List(ctx context.Context, m Monitor) ([]CPU, error) {
	var cpus []CPU
	if err := m.Execute(ctx, "query-cpus-fast", nil, &cpus); err != nil {
		return nil, fmt.Errorf("list vCPUs: %w", err)
	}
	return cpus, nil
}

// Meter measures how busy each vCPU was between two samples.
type Meter struct {
	pid  int
	cpus []CPU
	now  func() time.Time
	last map[int]usage
	at   time.Time
}

type usage struct{ run, wait time.Duration }

// NewMeter measures the vCPU threads of the QEMU process pid.
func NewMeter(pid int, cpus []CPU, now func() time.Time) *Meter {
	m := &Meter{pid: pid, cpus: cpus, now: now}
	m.Sample()
	return m
}

// Sample returns, for each vCPU, the share of the time since the last call, 0
// to 1, in which its thread ran or was runnable: on a loaded host a working guest
// must not look idle. Without a thread or schedstat it counts as busy: only what
// was seen to idle is idle.
func (m *Meter) Sample() []float64 {
	loads := m.Loads()
	shares := make([]float64, len(loads))
	for i, l := range loads {
		shares[i] = l.Busy
	}
	return shares
}

// Load is what one vCPU did between two samples.
type Load struct {
	CPU  int
	Busy float64       // as Sample has it
	Ran  time.Duration // on a host CPU
}

// Again returns a Meter of the same vCPUs that starts now.
func (m *Meter) Again() *Meter { return NewMeter(m.pid, m.cpus, m.now) }

// Loads returns what Sample does, and how long each vCPU really ran.
func (m *Meter) Loads() []Load {
	at, cur := m.now(), map[int]usage{}
	loads := make([]Load, len(m.cpus))
	for i, c := range m.cpus {
		loads[i] = Load{CPU: c.Index, Busy: 1}
		u, err := read(m.pid, c.Thread)
		if err != nil {
			continue
		}
		cur[c.Thread] = u
		old, ok := m.last[c.Thread]
		wall := at.Sub(m.at)
		if !ok || wall <= 0 {
			continue
		}
		loads[i].Ran = u.run - old.run
		loads[i].Busy = min(1, float64(u.run-old.run+u.wait-old.wait)/float64(wall))
	}
	m.last, m.at = cur, at
	return loads
}

// read reads a thread's time on a CPU and on a run queue, both in nanoseconds
// (Documentation/scheduler/sched-stats.rst, /proc/PID/schedstat).
func read(pid, tid int) (usage, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/schedstat", pid, tid))
	if err != nil {
		return usage{}, fmt.Errorf("read vCPU thread: %w", err)
	}
	f := strings.Fields(string(b))
	if len(f) < 2 {
		return usage{}, fmt.Errorf("read vCPU thread %d: schedstat %q", tid, b)
	}
	run, err1 := strconv.ParseInt(f[0], 10, 64)
	wait, err2 := strconv.ParseInt(f[1], 10, 64)
	if err1 != nil || err2 != nil {
		return usage{}, fmt.Errorf("read vCPU thread %d: schedstat %q", tid, b)
	}
	return usage{time.Duration(run), time.Duration(wait)}, nil
}
