package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/guestmem"
	"github.com/unwedge/unwedge/harness/internal/qmp"
	"github.com/unwedge/unwedge/harness/internal/sysrq"
	"github.com/unwedge/unwedge/harness/internal/vcpu"
	"github.com/unwedge/unwedge/harness/internal/watch"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
)

// look is how often and how far apart the registers are sampled.
type look struct {
	samples  int
	interval time.Duration
}

var (
	// glance tells where an idle guest sits.
	glance = look{5, 20 * time.Millisecond}
	// survey tells a busy guest that works from one that spins.
	survey = look{24, 80 * time.Millisecond}
)

// workPlaces is in how many places (see vcpu.Places) of a survey a vCPU is seen
// that does real work. Loops over a lock, a device or a counter were seen in
// one to four; self-tests, decompression and the start of programs in nearly as
// many as there are samples.
const workPlaces = 10

// captured is what a capture yields.
type captured struct {
	registers []result.CPUSample
	attempts  []result.Attempt
	wake      time.Duration  // in how long the last of user space's timers is due
	works     bool           // a vCPU is seen to do real work
	idle      bool           // every vCPU idles
	frozen    bool           // no vCPU computes anything
	reads     bool           // a disk answered reads meanwhile
	before    *guestmem.View // before the sysrq keys, where view is of after them
	view      *guestmem.View
	users     []guestmem.UserStack
	memory    result.Memory
	errs      []error
	lost      error // why QEMU's monitor could not be asked at all
}

// ask looks at the stalled guest, what disturbs it least first: registers,
// memory, then sysrq by BREAK, keyboard, NMI. A guest that is seen to work is
// not disturbed further, unless this is the last look.
func (s *session) ask(ctx context.Context, d watch.Decision) (got captured) {
	how := survey
	if d.Idle {
		how = glance
	}
	got.idle = d.Idle
	meter := s.meter.Again()
	s.sample(ctx, how, &got)
	if got.lost != nil {
		return got
	}
	if d.Early {
		got.frozen = vcpu.Frozen(got.registers, meter.Loads())
		return got
	}
	got.works = !d.Idle && vcpu.Places(got.registers) >= workPlaces
	if got.works && !d.Late {
		// It is not disturbed, but looked at: not all work leads anywhere.
		if got.view = s.recall(ctx, &got.memory); got.view != nil {
			got.failed(ctx, s.saveMemory(got.view))
		}
		return got
	}
	return s.question(ctx, got)
}

// question looks into the guest's memory, asks its kernel by sysrq, and looks
// once more: a clock that stands still shows that no interrupt is taken.
func (s *session) question(ctx context.Context, got captured) captured {
	before, err := s.diskReads(ctx)
	got.failed(ctx, err)
	first := s.recall(ctx, &got.memory)
	s.keys(ctx, &got, first != nil)
	if got.view = first; first != nil {
		if again := s.recallStill(ctx, &got.memory); again != nil {
			got.before, got.view = first, again
			got.memory.Ticks = again.Jiffies - first.Jiffies
		}
		got.failed(ctx, s.saveMemory(got.view))
		got.users = s.userStacks(ctx, &got.memory)
		got.failed(ctx, s.saveUserStacks(got.users))
	}
	after, err := s.diskReads(ctx)
	got.failed(ctx, err)
	got.reads = after > before
	return got
}

// keys asks by sysrq, and by NMI where nothing else says where the guest is: a
// kernel in its first steps dies of an NMI.
func (s *session) keys(ctx context.Context, got *captured, seen bool) {
	times := sysrq.Scaled(s.res.Host.Reference.Unit)
	g := s.sysrqGuest()
	if !got.idle && deaf(got.registers) {
		g.Routes = nil
		got.failed(ctx, errors.New("no sysrq key was sent: every vCPU has its interrupts off and would not hear it"))
	}
	var err error
	got.attempts, err = sysrq.Capture(ctx, g, times)
	got.failed(ctx, err)
	answered := slices.ContainsFunc(got.attempts, func(a result.Attempt) bool { return a.Yield != result.NoAnswer && a.Yield != result.Refused })
	if g.Routes = []result.Route{result.NMI}; !answered && !seen && s.req.Machine.Scenario.Arch.Facts().HasNMI {
		nmi, err := sysrq.Capture(ctx, g, times)
		got.failed(ctx, err)
		got.attempts = append(got.attempts, nmi...)
	}
	for _, a := range got.attempts {
		if a.Key != "" && a.To > a.From {
			dump, err := s.saveDump(a)
			got.failed(ctx, err)
			if a.Key == "q" {
				got.wake = s.wakeUp(dump)
			}
		}
	}
}

// deaf says that every vCPU of a busy guest was seen to run, always with its
// interrupts off. (An idle arm64 masks them while it waits for one.)
func deaf(samples []result.CPUSample) bool {
	return len(samples) > 0 && !slices.ContainsFunc(samples, func(r result.CPUSample) bool { return r.Halted || r.IRQsOff == nil || !*r.IRQsOff })
}

// failed keeps what went wrong, unless the capture was called off.
func (got *captured) failed(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil {
		got.errs = append(got.errs, err)
	}
}

// sample reads the registers a few times and keeps QEMU's text of them.
func (s *session) sample(ctx context.Context, how look, got *captured) {
	var text bytes.Buffer
	for i := range how.samples {
		regs, raw, err := vcpu.Registers(ctx, s.g.qmp, s.req.Symbols)
		if errors.Is(err, qmp.ErrNoReply) || errors.Is(err, qmp.ErrClosed) {
			got.lost = err
			break
		}
		if err != nil {
			got.errs = append(got.errs, err)
			break
		}
		got.registers = append(got.registers, regs...)
		fmt.Fprintf(&text, "# sample %d, %s after the start\n%s\n", i+1, time.Since(s.start).Round(time.Millisecond), raw)
		if !wait(ctx, how.interval) {
			break
		}
	}
	if err := appendFile(filepath.Join(s.req.Dir, rundir.Registers), text.Bytes()); err != nil {
		got.errs = append(got.errs, err)
	}
}

func (s *session) sysrqGuest() sysrq.Guest {
	facts := s.req.Machine.Scenario.Arch.Facts()
	routes := []result.Route{result.Break}
	if facts.HasKeyboard {
		routes = append(routes, result.Keyboard)
	}
	return sysrq.Guest{Monitor: s.g.qmp, Console: uart{s.g.console}, Chardev: "console", Routes: routes}
}

// saveDump keeps what one key printed as a file of its own. A later dump of the
// same key replaces an earlier one: the Result says which stall it belongs to.
func (s *session) saveDump(a result.Attempt) ([]byte, error) {
	var b bytes.Buffer
	lines, dropped := s.g.console.Since(a.From)
	if dropped > 0 {
		fmt.Fprintf(&b, "[unwedge: the first %d bytes are in %s only]\n", dropped, rundir.Console)
	}
	for _, l := range lines {
		if l.Offset >= a.To {
			break
		}
		b.Write(l.Text)
		b.WriteByte('\n')
	}
	if err := os.WriteFile(filepath.Join(s.req.Dir, rundir.Dump(a.Key[0])), b.Bytes(), 0o644); err != nil {
		return b.Bytes(), fmt.Errorf("keep the dump of sysrq %s: %w", a.Key, err)
	}
	return b.Bytes(), nil
}

// wakeUp returns in how long the last timer of user space that is due within
// Limits.Hold will go off. An idle guest's clock runs like the wall's.
func (s *session) wakeUp(dump []byte) time.Duration {
	var last time.Duration
	for _, d := range sysrq.UserTimers(dump) {
		if d <= s.res.Host.Limits.Hold {
			last = max(last, d)
		}
	}
	return last
}

func appendFile(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("keep registers: %w", err)
	}
	_, err = f.Write(b)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("keep registers: %w", err)
	}
	return nil
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

// guestTime reads the time stamp at the beginning of a printk line, in seconds:
// "[    1.234567] text", also behind a level.
func guestTime(line []byte) (float64, bool) {
	line = console.Strip(line)
	if i := bytes.IndexByte(line, '['); i >= 0 && i <= 4 {
		line = line[i+1:]
	} else {
		return 0, false
	}
	end := bytes.IndexByte(line, ']')
	if end < 0 || end > 20 {
		return 0, false
	}
	v, err := strconv.ParseFloat(string(bytes.TrimSpace(line[:end])), 64)
	return v, err == nil && v >= 0
}
