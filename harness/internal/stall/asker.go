package stall

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/guestmem/physmem"
	"github.com/unwedge/unwedge/harness/internal/qmp"
	"github.com/unwedge/unwedge/harness/internal/sysrq"
	"github.com/unwedge/unwedge/harness/internal/vcpu"
	"github.com/unwedge/unwedge/harness/internal/watch"
	"github.com/unwedge/unwedge/harness/result"
)

// Guest is what can be asked.
type Guest interface {
	QMP() *qmp.Conn
	Console() *console.Recorder
	// DiskReads is how many reads its disks have answered.
	DiskReads(ctx context.Context) (int64, error)
	// Memory is its memory, with QEMU's text of its registers of this moment.
	Memory(ctx context.Context) (ram physmem.Reader, registers string, err error)
	// Stopped runs f while it stands still, and leaves it as it was.
	Stopped(ctx context.Context, f func(context.Context) error) error
}

// Keys are the ways by which a guest may be asked for sysrq.
type Keys struct {
	// Chardev is QEMU's id of the console's chardev.
	Chardev string
	// Routes are tried in order, LastResort where nothing else says where it is. None:
	// it is not asked.
	Routes, LastResort []result.Route
}

// Asker asks one guest. Its fields do not change, and its methods may run beside the
// guest, one at a time.
type Asker struct {
	Guest Guest
	Image Image
	Keys  Keys
	// Meter has the vCPUs' threads; Ask makes one of its own from it.
	Meter *vcpu.Meter
	// Files keeps what was captured in the run's directory.
	Files Files
	// Unit scales the waiting, see sysrq.Scaled; Hold is the furthest timer that is
	// waited for, see result.Limits.
	Unit, Hold time.Duration
}

// rounds is how often and how far apart the registers are sampled.
type rounds struct {
	samples  int
	interval time.Duration
}

var (
	// proven tells where a guest sits that is proven to idle, or not to: one that loops may
	// be seen in an interrupt.
	proven = map[bool]rounds{true: {1, 0}, false: {9, 10 * time.Millisecond}}
	// glance tells where an idle guest sits.
	glance = rounds{5, 20 * time.Millisecond}
	// survey tells a busy guest that works from one that spins.
	survey = rounds{24, 80 * time.Millisecond}
)

// workPlaces is in how many places (see vcpu.Places) of a survey a vCPU is seen
// that does real work. Loops over a lock, a device or a counter were seen in
// one to four; self-tests, decompression and the start of programs in nearly as
// many as there are samples.
const workPlaces = 10

// Ask captures the stalled guest, what disturbs it least first: registers, memory,
// then sysrq by BREAK, keyboard, NMI. A guest that is seen to work is not disturbed
// further, unless this is the last capture (d.Late); of an early one (d.Early) and of one
// that is proven (d.Proven) only the registers are sampled.
func (a *Asker) Ask(ctx context.Context, d watch.Decision) (got Finding) {
	how := survey
	if d.Idle {
		how = glance
	}
	got.Idle, got.Firmware, got.Proven = d.Idle, d.Firmware, d.Proven
	if d.Proven {
		a.sample(ctx, proven[d.Idle], &got)
		return got
	}
	meter := a.Meter.Again()
	a.sample(ctx, how, &got)
	if got.Lost != nil {
		return got
	}
	if d.Early {
		loads := meter.Loads()
		a.place(ctx, &got)
		got.Rests = vcpu.Rests(got.Registers)
		got.Frozen = !got.Rests && vcpu.Frozen(got.Registers, loads)
		return got
	}
	got.Works = !d.Idle && vcpu.Places(got.Registers) >= workPlaces
	if got.Works && !d.Late {
		// It is not disturbed, but its memory is read: not all work leads anywhere.
		if got.View = a.Look(ctx, &got.Memory); got.View != nil {
			got.Registers = named(got.Registers, a.Image.Symbol, got.View.Offset)
			got.failed(ctx, a.Files.memory(got.View))
		}
		return got
	}
	return a.Question(ctx, got)
}

// Read goes on with a Finding that has registers only: it reads the guest's memory, and
// asks its kernel nothing.
func (a *Asker) Read(ctx context.Context, got Finding) Finding {
	if got.View = a.lookStill(ctx, &got.Memory); got.View != nil {
		got.Registers = named(got.Registers, a.Image.Symbol, got.View.Offset)
		got.Users = a.userStacks(ctx, &got.Memory)
	}
	return got
}

// Question goes on with a Finding that has registers only: it reads the guest's
// memory, asks its kernel by sysrq, and reads the memory once more. A clock that
// stands still shows that no interrupt is taken.
func (a *Asker) Question(ctx context.Context, got Finding) Finding {
	before, err := a.Guest.DiskReads(ctx)
	got.failed(ctx, err)
	first, err := a.look(ctx, &got.Memory)
	namedEarly(got.Registers, a.Image.Symbol, err)
	if !got.Firmware {
		a.keys(ctx, &got, first != nil)
	}
	if got.View = first; first != nil {
		if again := a.lookStill(ctx, &got.Memory); again != nil {
			got.Before, got.View = first, again
			got.Memory.Ticks = again.Jiffies - first.Jiffies
		}
		got.Registers = named(got.Registers, a.Image.Symbol, got.View.Offset)
		got.failed(ctx, a.Files.memory(got.View))
		got.Users = a.userStacks(ctx, &got.Memory)
		got.failed(ctx, a.Files.userStacks(got.Users))
	}
	after, err := a.Guest.DiskReads(ctx)
	got.failed(ctx, err)
	got.Reads = after > before
	return got
}

// keys asks by sysrq, and by the routes of last resort, which may reset the guest, where
// nothing else says where it is.
func (a *Asker) keys(ctx context.Context, got *Finding, seen bool) {
	times := sysrq.Scaled(a.Unit)
	g := sysrq.Guest{Monitor: a.Guest.QMP(), Console: uart{a.Guest.Console()}, Chardev: a.Keys.Chardev, Routes: a.Keys.Routes}
	if !got.Idle && deaf(got.Registers) {
		g.Routes = nil
		got.failed(ctx, errors.New("skipped sysrq: interrupts are off on every vCPU"))
	}
	var err error
	got.Attempts, err = sysrq.Capture(ctx, g, times)
	got.failed(ctx, err)
	answered := slices.ContainsFunc(got.Attempts, func(a result.Attempt) bool { return a.Yield != result.NoAnswer && a.Yield != result.Refused })
	if g.Routes = a.Keys.LastResort; !answered && !seen {
		more, err := sysrq.Capture(ctx, g, times)
		got.failed(ctx, err)
		got.Attempts = append(got.Attempts, more...)
	}
	for _, at := range got.Attempts {
		if at.Key == "" || at.To <= at.From {
			continue
		}
		text := printed(a.Guest.Console(), at)
		got.failed(ctx, a.Files.dump(at.Key[0], text))
		if at.Key == "q" {
			got.UserTimer = a.userTimer(text)
		}
	}
}

// place names where the vCPUs were in a kernel that has moved itself, which hides its
// idle loop. Where they were seen to halt, or in user mode, that need not be known.
func (a *Asker) place(ctx context.Context, got *Finding) {
	hidden := func(r result.CPUSample) bool { return r.Symbol == "" && !r.Halted && !r.User }
	if !slices.ContainsFunc(got.Registers, hidden) {
		return
	}
	var said result.Memory // the capture says what of it could not be read
	if v := a.Look(ctx, &said); v != nil {
		got.Registers = named(got.Registers, a.Image.Symbol, v.Offset)
	}
}

// deaf says that every vCPU of a busy guest was seen to run, always with its
// interrupts off. (An idle arm64 masks them while it waits for one.)
func deaf(samples []result.CPUSample) bool {
	return len(samples) > 0 && !slices.ContainsFunc(samples, func(r result.CPUSample) bool { return r.Halted || r.IRQsOff == nil || !*r.IRQsOff })
}

// failed keeps what went wrong, unless the capture was called off.
func (f *Finding) failed(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil {
		f.Errs = append(f.Errs, err)
	}
}

// sample reads the registers a few times and keeps QEMU's text of them.
func (a *Asker) sample(ctx context.Context, how rounds, got *Finding) {
	var text bytes.Buffer
	for i := range how.samples {
		regs, raw, err := vcpu.Registers(ctx, a.Guest.QMP(), a.Image.Symbol)
		if errors.Is(err, qmp.ErrNoReply) || errors.Is(err, qmp.ErrClosed) {
			got.Lost = err
			break
		}
		if err != nil {
			got.Errs = append(got.Errs, err)
			break
		}
		got.Registers = append(got.Registers, regs...)
		fmt.Fprintf(&text, "# sample %d, %s after the start\n%s\n", i+1, a.Files.since(), raw)
		if !wait(ctx, how.interval) {
			break
		}
	}
	if err := a.Files.registers(text.Bytes()); err != nil {
		got.Errs = append(got.Errs, err)
	}
}

// userTimer returns in how long the last timer of user space that is due within
// Hold will go off. An idle guest's clock runs like the wall's.
func (a *Asker) userTimer(dump []byte) time.Duration {
	var last time.Duration
	for _, d := range sysrq.UserTimers(dump) {
		if d <= a.Hold {
			last = max(last, d)
		}
	}
	return last
}

// printed is what a key made the kernel print, as far as it is still in memory.
func printed(r *console.Recorder, a result.Attempt) []byte {
	var b bytes.Buffer
	lines, dropped := r.Since(a.From)
	if dropped > 0 {
		fmt.Fprintf(&b, "[unwedge: the first %d bytes are in the console log only]\n", dropped)
	}
	for _, l := range lines {
		if l.Offset >= a.To {
			break
		}
		b.Write(l.Text)
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// wait sleeps for d; false if the context ended first.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// uart shows a console Recorder to package sysrq.
type uart struct{ r *console.Recorder }

func (u uart) Write(p []byte) (int, error) { return u.r.Write(p) }
func (u uart) Len() int64                  { return u.r.Stats().Bytes }

func (u uart) Since(offset int64) []byte {
	var b bytes.Buffer
	lines, _ := u.r.Since(offset)
	for _, l := range lines {
		b.Write(l.Text)
		b.WriteByte('\n')
	}
	return b.Bytes()
}
