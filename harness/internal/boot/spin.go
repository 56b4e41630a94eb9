package boot

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/unwedge/unwedge/harness/internal/guestmem/physmem"
	"github.com/unwedge/unwedge/harness/internal/isa"
	"github.com/unwedge/unwedge/harness/internal/probe/gdb"
	"github.com/unwedge/unwedge/harness/internal/proof"
	"github.com/unwedge/unwedge/harness/internal/vcpu"
	"github.com/unwedge/unwedge/harness/result"
)

// The times of a search for a loop: how long the guest must have been busy without
// progress, how often its registers are looked at first, without stopping it, and for how
// long it may be stepped.
const (
	spinFor   = time.Second
	spinLooks = 16
	spinMost  = 100
	spinEvery = 20 * time.Millisecond
	spinSteps = 3 * time.Second
	spinTries = 5 // a guest may be stopped in the midst of an interrupt
)

// spin looks for a loop that never ends on each vCPU. Only a guest whose registers do not
// change is stopped, and stepped.
func (s *search) spin(ctx context.Context, w *watcher) proof.Answer {
	if why := frozen(ctx, w); why != "" {
		return proof.Answer{Why: why}
	}
	loops, err := s.loops(ctx, w)
	if err != nil {
		return proof.Answer{Why: err.Error()}
	}
	if got, ok := proof.Deaf(loops); ok {
		return got
	}
	if w.Image.Look == nil {
		return proof.Answer{Why: "its tasks are not known"}
	}
	first := w.glance(ctx)
	select {
	case <-ctx.Done():
		return proof.Answer{Why: context.Cause(ctx).Error()}
	case <-time.After(proof.SpinApart):
	}
	return proof.Spinning(loops, first, w.glance(ctx))
}

// frozen says why the vCPUs do not look as if they computed nothing; "" where they do. A
// host that is busy itself takes a while to show it.
func frozen(ctx context.Context, w *watcher) string {
	meter := w.meter.Again()
	var all []result.CPUSample
	for n := range spinMost {
		got, _, err := vcpu.Registers(ctx, w.guest.QMP(), nil)
		if err != nil {
			return err.Error()
		}
		all = append(all, got...)
		since := *meter // since its start, not since the last look
		switch {
		case n < spinLooks:
		case vcpu.Frozen(all, since.Loads()):
			return ""
		case vcpu.Changing(all):
			return "the registers of its vCPUs change"
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx).Error()
		case <-time.After(spinEvery):
		}
	}
	return "its vCPUs are hardly run by this host"
}

// loops steps each vCPU of a guest that stands still for it.
func (s *search) loops(ctx context.Context, w *watcher) (loops []proof.Loop, err error) {
	i, err := isa.Find(w.Machine.Scenario.Arch)
	if err != nil {
		return nil, err
	}
	cpus, err := vcpu.List(ctx, w.guest.QMP())
	if err != nil {
		return nil, err
	}
	ram, _, err := w.guest.Memory(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, spinSteps, fmt.Errorf("not stepped within %s", spinSteps))
	defer cancel()
	reads := false
	memory := func(ctx context.Context, addr uint64) bool {
		reads = true
		return isRAM(ctx, w, ram, addr)
	}
	for range spinTries {
		reads = false
		err = w.guest.Stopped(ctx, func(ctx context.Context) error {
			loops, err = stepAll(ctx, w, cpus, i, memory)
			return err
		})
		if !proof.IsNoLoop(err) {
			break
		}
	}
	if err == nil && reads {
		err = s.steady(ctx, w)
	}
	return loops, err
}

// stepAll steps the vCPUs of a guest that stands still, and leaves it running.
func stepAll(ctx context.Context, w *watcher, cpus []vcpu.CPU, i *isa.ISA, isRAM func(context.Context, uint64) bool) (loops []proof.Loop, err error) {
	conn, err := w.Stub(ctx)
	if err != nil {
		return nil, err
	}
	c, err := gdb.Attach(ctx, conn)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Detach(context.WithoutCancel(ctx))) }()
	for _, cpu := range cpus {
		l, err := proof.Stepped(ctx, c, cpu.Index, i, isRAM)
		if err != nil {
			return nil, err
		}
		loops = append(loops, l)
	}
	return loops, nil
}

// steady says why a device may write to the guest's memory; nil where none does.
func (s *search) steady(ctx context.Context, w *watcher) error {
	if !s.on {
		return errors.New("its devices may write to memory that its loop reads")
	}
	owed, err := proof.Owed(ctx, w.guest.QMP())
	if err == nil && len(owed) > 0 {
		err = errors.New(strings.Join(owed, ", "))
	}
	return err
}

// isRAM says whether a virtual address is memory (HMP's gva2gpa).
func isRAM(ctx context.Context, w *watcher, ram physmem.Reader, addr uint64) bool {
	text, err := w.guest.QMP().HMP(ctx, fmt.Sprintf("gva2gpa %#x", addr))
	if err != nil {
		return false
	}
	digits, ok := strings.CutPrefix(strings.TrimSpace(text), "gpa: 0x")
	if !ok {
		return false
	}
	phys, err := strconv.ParseUint(digits, 16, 64)
	return err == nil && ram.ReadPhys(phys, make([]byte, 1)) == nil
}
