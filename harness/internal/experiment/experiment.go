// Package experiment puts a guest that hangs to the probes that were asked for, each
// from the guest as it hung, and watches what it does then.
package experiment

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/unwedge/unwedge/harness/internal/boot"
	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/events"
	"github.com/unwedge/unwedge/harness/internal/guestmem"
	"github.com/unwedge/unwedge/harness/internal/machine"
	"github.com/unwedge/unwedge/harness/internal/probe"
	"github.com/unwedge/unwedge/harness/internal/probe/gdb"
	"github.com/unwedge/unwedge/harness/internal/run"
	"github.com/unwedge/unwedge/harness/internal/stall"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
)

// Hang is a guest that hangs, and what is known of that.
type Hang struct {
	boot.Options
	Guest *run.Guest
	Loop  *events.Loop
	// Boot is how it came to hang, Diagnosis why.
	Boot      *boot.Boot
	Diagnosis result.Diagnosis
}

// Findings are what the probes showed.
type Findings struct {
	Probes []result.Probe
	// Console is what the console was before the first probe; probe.log has what came
	// then. nil: no probe was begun.
	Console *console.Stats
	// Notes are for the reader of the Result.
	Notes []string
}

// Run makes the probes in turn. All of the hang is captured and diagnosed before
// them. Its error is the cause of a context that ended: whatever else goes wrong is an
// outcome of a probe.
func Run(ctx context.Context, h Hang, probes []result.ProbeName) (Findings, error) {
	x := &experiments{Hang: h, times: probe.Scaled(h.Unit)}
	err := x.prepare(ctx, len(probes))
	for _, name := range probes {
		p := result.Probe{Name: name, At: time.Since(h.Boot.Start)}
		h.Observer.Phase(boot.Probing, string(name))
		if err != nil {
			p.Outcome, p.Why = result.ProbeRefused, err.Error()
		} else {
			x.one(ctx, &p)
		}
		if ctx.Err() != nil {
			return x.out, context.Cause(ctx)
		}
		p.Took = time.Since(h.Boot.Start) - p.At
		p.Why = console.SanitizeMax(p.Why, 400)
		x.out.Probes = append(x.out.Probes, p)
	}
	return x.out, nil
}

// experiments are the probes of one hung guest. Between two of them the guest stands
// still.
type experiments struct {
	Hang
	out      Findings
	times    probe.Times
	snapshot *probe.Snapshot // nil: the guest cannot be put back
	noWay    error           // why
	changed  bool            // the guest is no longer as it hung
}

// prepare stops the guest, marks where the console of the hang ends, and keeps
// the guest's state. Its error is why no probe can be made.
func (x *experiments) prepare(ctx context.Context, probes int) error {
	if !x.Boot.Hangs {
		return errors.New("the guest no longer hangs: the capture made it go on")
	}
	if err := x.Guest.QMP().Execute(ctx, "stop", nil, nil); err != nil {
		return err
	}
	st := x.still(ctx)
	x.out.Console = &st
	if probes > 1 {
		x.snapshot, x.noWay = probe.Save(ctx, x.Guest.QMP(), filepath.Join(x.Dir, rundir.ProbeState))
	}
	return nil
}

// still waits until all that a stopped guest has printed is read.
func (x *experiments) still(ctx context.Context) console.Stats {
	const look, most = 20 * time.Millisecond, 50
	st := x.Guest.Console().Stats()
	for range most {
		select {
		case <-ctx.Done():
			return st
		case <-time.After(look):
		}
		now := x.Guest.Console().Stats()
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
	if err := x.Guest.QMP().Execute(context.WithoutCancel(ctx), "stop", nil, nil); err != nil && p.Outcome != result.ProbeFailed {
		t.failed(err)
	}
	t.drain(ctx)
	t.conclude(ctx)
	if err := t.save(); err != nil {
		x.out.Notes = append(x.out.Notes, err.Error())
	}
}

// senseless says why a probe would show nothing.
func (x *experiments) senseless(name result.ProbeName) string {
	d := x.Diagnosis
	switch name {
	case result.ProbeSyscall:
		if d.Task == nil {
			return "the task that the boot waits for is not known"
		}
		if x.Image.Sleeper == nil {
			return "this kernel's memory cannot be read"
		}
		return ""
	case result.ProbeVirtioRNG:
		if !x.Machine.Slot {
			return "the machine has no free slot to plug a device into"
		}
	}
	switch {
	case d.Cause == result.CauseEntropy:
		return ""
	case d.Confidence == result.Certain:
		return fmt.Sprintf("the cause is %s for certain: random numbers would change nothing", d.Cause)
	case !x.Boot.Idle:
		return "the guest does not wait: a vCPU is busy"
	case x.Boot.Seeded:
		return "the random number generator was ready before the guest hung"
	}
	return ""
}

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
	task := x.Diagnosis.Task
	p.Did = fmt.Sprintf("make the system call of %s (PID %d) return ENOMEM", task.Comm, task.PID)
	conn, err := x.Guest.GDB(ctx)
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
	if name := x.Diagnosis.Syscall; name != "" {
		p.Did = fmt.Sprintf("make %s() of %s (PID %d) return ENOMEM", name, task.Comm, task.PID)
	}
	nudge := func() { _, _ = x.Guest.Console().Write([]byte{'\x11'}) } // XON: an interrupt and a work item, and nothing else
	err = probe.FailSyscall(ctx, c, x.Machine.Scenario.Arch, s, probe.ENOMEM, x.times, nudge)
	x.changed = !errors.Is(err, probe.ErrUnsafe)
	return err
}

func (x *experiments) sleeper(ctx context.Context, pid int) (*guestmem.Sleeper, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, stall.LookTime, fmt.Errorf("not done within %s", stall.LookTime))
	defer cancel()
	ram, registers, err := x.Guest.Memory(ctx)
	if err != nil {
		return nil, err
	}
	return x.Image.Sleeper(ctx, ram, registers, pid, probe.SyscallFunctions)
}

// plug plugs in a virtio-rng.
func (x *experiments) plug(ctx context.Context, p *result.Probe) error {
	p.Did = "plug in a virtio-rng device"
	x.changed = true
	if err := probe.Plug(ctx, x.Guest.QMP(), machine.SlotID); err != nil {
		return err
	}
	return x.Guest.QMP().Execute(ctx, "cont", nil, nil)
}

// feed feeds the guest's entropy pool until ctx ends or it has had enough time.
func (x *experiments) feed(ctx context.Context, p *result.Probe) error {
	p.Did = "feed the entropy pool"
	x.changed = true
	if err := x.Guest.QMP().Execute(ctx, "cont", nil, nil); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, x.times.Feed)
	defer cancel()
	var n int
	var err error
	if x.Machine.Scenario.MachineType().HasKeyboard {
		n, err = probe.Press(ctx, x.Guest.QMP())
		p.Did = fmt.Sprintf("press and release the shift key at irregular times, %d changes", n)
	} else {
		n, err = probe.Type(ctx, x.Guest.Console())
		p.Did = fmt.Sprintf("type %d XON bytes at the console, an interrupt each", n)
	}
	return err
}
