package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/guestmem"
	"github.com/unwedge/unwedge/harness/internal/machine"
	"github.com/unwedge/unwedge/harness/internal/probe"
	"github.com/unwedge/unwedge/harness/internal/probe/gdb"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
	"github.com/unwedge/unwedge/scenarios"
)

// experiments are the probes of one hung guest. All of the hang is captured and
// diagnosed before them; what they show goes to Result.Probes and probe.log.
// Between two of them the guest stands still.
type experiments struct {
	*session
	times    probe.Times
	snapshot *probe.Snapshot // nil: the guest cannot be put back
	noWay    error           // why
	changed  bool            // the guest is no longer as it hung
}

// experiment makes the probes that were asked for. Its error is that of a context
// that ended: whatever else goes wrong is an outcome of a probe.
func (s *session) experiment(ctx context.Context, v verdict) error {
	if v.outcome != scenarios.Hung || len(s.req.Probes) == 0 {
		return nil
	}
	s.settle(v)
	if err := s.explain(); err != nil {
		return err
	}
	x := &experiments{session: s, times: probe.Scaled(s.res.Host.Reference.Unit)}
	err := x.prepare(ctx)
	for _, name := range s.req.Probes {
		p := result.Probe{Name: name, At: time.Since(s.start)}
		s.req.Observer.Phase(Probing, string(name))
		if err != nil {
			p.Outcome, p.Why = result.ProbeRefused, err.Error()
		} else {
			x.one(ctx, &p)
		}
		if ctx.Err() != nil {
			break
		}
		p.Took = time.Since(s.start) - p.At
		p.Why = console.SanitizeMax(p.Why, 400)
		s.res.Probes = append(s.res.Probes, p)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// prepare stops the guest, marks where the console of the hang ends, and keeps
// the guest's state. Its error is why no probe can be made.
func (x *experiments) prepare(ctx context.Context) error {
	c := x.capture
	if c == nil || !c.reset.IsZero() || x.watch.Progress().After(c.since) {
		return errors.New("the guest no longer hangs: looking at it made it go on")
	}
	if err := x.g.qmp.Execute(ctx, "stop", nil, nil); err != nil {
		return err
	}
	st := x.still(ctx)
	x.unprobed = &st
	if len(x.req.Probes) > 1 {
		x.snapshot, x.noWay = probe.Save(ctx, x.g.qmp, filepath.Join(x.req.Dir, rundir.ProbeState))
	}
	return nil
}

// still waits until all that a stopped guest has printed is read.
func (x *experiments) still(ctx context.Context) console.Stats {
	const look, most = 20 * time.Millisecond, 50
	st := x.g.console.Stats()
	for range most {
		if !wait(ctx, look) {
			break
		}
		now := x.g.console.Stats()
		if now.Bytes == st.Bytes {
			break
		}
		st = now
	}
	return st
}

// one makes one probe.
func (x *experiments) one(ctx context.Context, p *result.Probe) {
	if p.Why = x.senseless(p.Name); p.Why != "" {
		p.Outcome = result.ProbeRefused
		return
	}
	if x.changed {
		if err := x.rewind(ctx); err != nil {
			p.Outcome, p.Why = result.ProbeFailed, err.Error()
			return
		}
	}
	act := x.failSyscall
	switch p.Name {
	case result.ProbeVirtioRNG:
		act = x.plug
	case result.ProbeInput:
		act = x.feed
	}
	t := x.newTrial(ctx, p)
	t.run(ctx, act)
	if err := x.g.qmp.Execute(context.WithoutCancel(ctx), "stop", nil, nil); err != nil && p.Outcome != result.ProbeFailed {
		t.failed(err)
	}
	t.drain(ctx)
	t.conclude(ctx)
	if err := t.save(); err != nil {
		x.note("%v", err)
	}
}

// senseless says why a probe would show nothing.
func (x *experiments) senseless(name result.ProbeName) string {
	d := x.res.Diagnosis
	switch name {
	case result.ProbeSyscall:
		if d.Task == nil {
			return "no task is known that the boot waits for"
		}
		if x.req.Sleeper == nil {
			return "this kernel's memory cannot be read"
		}
		return ""
	case result.ProbeVirtioRNG:
		if !x.req.Machine.Slot {
			return "the machine was started without a place to plug a device into"
		}
	}
	switch {
	case d.Cause == result.CauseEntropy:
		return ""
	case d.Confidence == result.Certain:
		return fmt.Sprintf("the cause is certain, and it is %s: random numbers would change nothing", d.Cause)
	case !x.capture.stall.Idle:
		return "it does not wait: a vCPU is busy"
	case x.seeded():
		return "the guest's generator of random numbers was ready before it hung"
	}
	return ""
}

// seeded says that the guest has said that its generator is ready.
func (x *experiments) seeded() bool {
	if n := len(x.res.Reports); n > 0 && x.res.Reports[n-1].CRNG {
		return true
	}
	done := []byte(seededWords)
	if x.view != nil && bytes.Contains(x.view.Log, done) {
		return true
	}
	log, err := readLog(filepath.Join(x.req.Dir, rundir.Console))
	return err == nil && bytes.Contains(log, done)
}

// seededWords are the kernel's when its generator is ready (drivers/char/random.c,
// _credit_init_bits; crng_reseed before 5.18).
const seededWords = "random: crng init done"

// rewind puts the guest back to where it hung, paused.
func (x *experiments) rewind(ctx context.Context) error {
	if x.snapshot == nil {
		return fmt.Errorf("%w: %w", probe.ErrNoSnapshot, x.noWay)
	}
	if err := x.snapshot.Load(ctx); err != nil {
		x.snapshot, x.noWay = nil, errors.New("an attempt to do so failed")
		return err
	}
	x.still(ctx)
	x.changed = false
	return nil
}

// failSyscall has the system call of the task that the boot waits for fail.
func (x *experiments) failSyscall(ctx context.Context, p *result.Probe) (err error) {
	task := x.res.Diagnosis.Task
	p.Did = fmt.Sprintf("make the system call of %s (PID %d) return ENOMEM", task.Comm, task.PID)
	conn, err := x.g.sockets[socketGDB].Dial(ctx)
	if err != nil {
		return err
	}
	c, err := gdb.Attach(ctx, conn)
	if err != nil {
		return err
	}
	defer func() { // which lets the guest run
		err = errors.Join(err, c.Detach(context.WithoutCancel(ctx)))
	}()
	s, err := x.sleeper(ctx, task.PID)
	if err != nil {
		return err
	}
	if name := x.res.Diagnosis.Syscall; name != "" {
		p.Did = fmt.Sprintf("make %s() of %s (PID %d) return ENOMEM", name, task.Comm, task.PID)
	}
	nudge := func() { _, _ = x.g.console.Write([]byte{'\x11'}) } // XON: an interrupt and a work item, and nothing else
	err = probe.FailSyscall(ctx, c, x.req.Machine.Scenario.Arch, s, probe.ENOMEM, x.times, nudge)
	x.changed = !errors.Is(err, probe.ErrUnsafe)
	return err
}

func (x *experiments) sleeper(ctx context.Context, pid int) (*guestmem.Sleeper, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, recallTime, fmt.Errorf("not done within %s", recallTime))
	defer cancel()
	ram, registers, err := x.ram(ctx)
	if err != nil {
		return nil, err
	}
	return x.req.Sleeper(ctx, ram, registers, pid, probe.SyscallFunctions)
}

// plug plugs in a virtio-rng.
func (x *experiments) plug(ctx context.Context, p *result.Probe) error {
	p.Did = "plug in a virtio-rng device"
	x.changed = true
	if err := probe.Plug(ctx, x.g.qmp, machine.SlotID); err != nil {
		return err
	}
	return x.g.qmp.Execute(ctx, "cont", nil, nil)
}

// feed feeds the guest's entropy pool until ctx ends or it has had enough time.
func (x *experiments) feed(ctx context.Context, p *result.Probe) error {
	p.Did = "feed the entropy pool"
	x.changed = true
	if err := x.g.qmp.Execute(ctx, "cont", nil, nil); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, x.times.Feed)
	defer cancel()
	var n int
	var err error
	if x.req.Machine.Scenario.Arch.Facts().HasKeyboard {
		n, err = probe.Press(ctx, x.g.qmp)
		p.Did = fmt.Sprintf("press and release the shift key at irregular times, %d changes", n)
	} else {
		n, err = probe.Type(ctx, x.g.console)
		p.Did = fmt.Sprintf("type %d XON bytes at the console, an interrupt each", n)
	}
	return err
}
