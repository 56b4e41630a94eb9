package harness_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/unwedge/unwedge/harness/internal/guestmem"
	"github.com/unwedge/unwedge/harness/internal/guestmem/physmem"
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
	"github.com/unwedge/unwedge/scenarios"
)

// remembers is a memory in which PID 1 sleeps in an initcall.
func remembers(v guestmem.View) func(context.Context, physmem.Reader, string) (*guestmem.View, error) {
	var looks atomic.Uint64
	return func(_ context.Context, ram physmem.Reader, registers string) (*guestmem.View, error) {
		if len(ram.Ranges()) != 1 || ram.Ranges()[0].Size != 256<<20 || !strings.Contains(registers, "RIP=") {
			return nil, errors.New("the memory or the registers are not the guest's")
		}
		got := v
		got.Jiffies += 250 * looks.Add(1)
		return &got, nil
	}
}

func sleeper() guestmem.View {
	var frames []model.Frame
	for _, n := range []string{"__schedule", "schedule", "schedule_timeout", "msleep", "slow_init", "do_one_initcall", "kernel_init_freeable", "kernel_init", "ret_from_fork"} {
		frames = append(frames, model.Frame{Func: n, Off: 1, Size: 2, Reliable: true})
	}
	return guestmem.View{
		Tasks:    []model.Task{{Comm: "swapper/0", PID: 1, State: "D", CPU: -1, Frames: frames}},
		Log:      []byte("[    0.1] only in memory\x1b[2J\n"),
		PhysBase: 0x1000000, Problems: []string{"one list was torn"},
	}
}

// A kernel that no key reaches is read from outside.
func TestMemorySaysWhereADeafGuestIs(t *testing.T) {
	t.Parallel()
	req := request(t, "deaf", &quick)
	req.Image.Look = remembers(sleeper())
	res, err := boot(t, req)
	if err != nil {
		t.Fatal(err)
	}
	st := hang(t, res)
	if d := res.Diagnosis; d == nil || d.Task == nil || d.Task.PID != 1 || !strings.Contains(d.Title, "slow_init") {
		t.Errorf("diagnosis %+v", d)
	}
	if m := st.Memory; m == nil || m.Tasks != 1 || m.Ticks != 250 || m.PhysBase != 0x1000000 || len(m.Problems) == 0 || m.Took <= 0 {
		t.Errorf("memory %+v", m)
	}
	if strings.Contains(yields(st.Attempts), "nmi") {
		t.Errorf("attempts %s: an NMI, although memory says where it is", yields(st.Attempts))
	}
	b, err := os.ReadFile(filepath.Join(req.Dir, rundir.Memory))
	if err != nil || !strings.Contains(string(b), " slow_init+0x1/0x2\n") || !strings.Contains(string(b), "only in memory") || strings.Contains(string(b), "\x1b") || res.Files["memory"] != rundir.Memory {
		t.Errorf("%s: %v: %s; files %v", rundir.Memory, err, b, res.Files)
	}
}

// What the keys cure is seen in memory before they are sent, and not after.
func TestCureIsSeenAlthoughMemoryIsReadAfterIt(t *testing.T) {
	t.Parallel()
	req := request(t, "cured", &quick)
	looks := 0
	req.Image.Look = func(context.Context, physmem.Reader, string) (*guestmem.View, error) {
		at := "pipe_read"
		if looks++; looks == 1 {
			at = "wait_for_random_bytes"
		}
		var frames []model.Frame
		for _, n := range []string{"__schedule", "schedule", at, "do_syscall_64", "entry_SYSCALL_64_after_hwframe"} {
			frames = append(frames, model.Frame{Func: n, Off: 1, Size: 2, Reliable: true})
		}
		return &guestmem.View{Complete: true, Tasks: []model.Task{{Comm: "init", PID: 1, State: "S", CPU: -1, Frames: frames}}}, nil
	}
	res, err := boot(t, req)
	if err != nil {
		t.Fatal(err)
	}
	if res.Outcome != scenarios.Hung || res.Diagnosis == nil || res.Diagnosis.Cause != result.CauseEntropy {
		t.Errorf("outcome %s (%s), diagnosis %+v", res.Outcome, res.Why, res.Diagnosis)
	}
	if notes := strings.Join(res.Notes, " "); looks < 2 || !strings.Contains(notes, "the capture cured the hang") {
		t.Errorf("%d looks, %s: %q", looks, res.Outcome, res.Notes)
	}
}

// What the guest's memory does not give is said, and the rest goes on.
func TestUnreadableMemoryIsToldNotFatal(t *testing.T) {
	t.Parallel()
	req := request(t, "hangs", &quick)
	req.Image.Look = func(context.Context, physmem.Reader, string) (*guestmem.View, error) {
		return nil, errors.New("the kernel has no types")
	}
	res, err := boot(t, req)
	if err != nil {
		t.Fatal(err)
	}
	st := hang(t, res)
	if st.Memory == nil || len(st.Memory.Problems) != 1 || !strings.Contains(st.Memory.Problems[0], "no types") {
		t.Errorf("memory %+v", st.Memory)
	}
	if res.Diagnosis == nil || res.Diagnosis.Task == nil {
		t.Errorf("sysrq answered, yet diagnosis %+v", res.Diagnosis)
	}
}

// A kernel that never reached its console has said something all the same.
func TestLogFromMemoryWhereTheConsoleIsSilent(t *testing.T) {
	t.Parallel()
	v := sleeper()
	v.Tasks = nil
	v.Log = []byte("[    0.000000] Linux version 6.1.0 (a@b) #1 SMP\n[    0.100000] Kernel panic - not syncing: no memory at all\n[    0.100001] ---[ end Kernel panic - not syncing: no memory at all ]---\n")
	req := request(t, "never-says", &quick)
	req.Image.Look = remembers(v)
	res, err := boot(t, req)
	if err != nil {
		t.Fatal(err)
	}
	hang(t, res)
	if d := res.Diagnosis; d == nil || !strings.Contains(d.Title, "no memory at all") {
		t.Errorf("diagnosis %+v", d)
	}
	if !strings.Contains(strings.Join(res.Notes, "\n"), "read from memory") {
		t.Errorf("notes %q", res.Notes)
	}
}

// A wait in the kernel that has a time-out is no hang before that.
func TestTimerOfTheKernelIsWaitedFor(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		timer model.Timer
		hz    int
		want  time.Duration
	}{
		"due":            {model.Timer{PID: 1, Jiffies: 1500 + 90}, 100, 900 * time.Millisecond},
		"hrtimer":        {model.Timer{PID: 1, Nanoseconds: uint64(5 * time.Second)}, 100, 0},
		"another task's": {model.Timer{PID: 7, Jiffies: 1500 + 90}, 100, 0},
		"for ever":       {model.Timer{PID: 1, Jiffies: 1500 + 1<<40}, 100, 0},
		"long past":      {model.Timer{PID: 1, Jiffies: 3}, 100, 0},
		"unknown HZ":     {model.Timer{PID: 1, Jiffies: 1500 + 90}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := sleeper()
			v.Jiffies, v.Timers = 1000, []model.Timer{tt.timer}
			req := request(t, "deaf", &quick)
			req.Image.Look, req.Image.HZ = remembers(v), func() int { return tt.hz }
			res, err := boot(t, req)
			if err != nil {
				t.Fatal(err)
			}
			if st := hang(t, res); st.Wake != tt.want {
				t.Errorf("waited %s, want %s", st.Wake, tt.want)
			}
		})
	}
}

// A guest that works on nothing but more of the same does not boot.
func TestForkBombIsNoWork(t *testing.T) {
	t.Parallel()
	v := guestmem.View{}
	for pid := 1; pid < 2000; pid++ {
		v.Tasks = append(v.Tasks, model.Task{Comm: "bomb", PID: pid, TGID: pid, State: "R"})
	}
	limits := quick
	limits.Busy = time.Second
	req := request(t, "works", &limits)
	req.Image.Look = remembers(v)
	res, err := boot(t, req)
	if err != nil {
		t.Fatal(err)
	}
	if st := hang(t, res); st.Works || res.Diagnosis.Cause != result.CauseForkBomb {
		t.Errorf("stall %+v, diagnosis %+v", st, res.Diagnosis)
	}
	// The same guest without the bomb works.
	req = request(t, "works", &limits)
	req.Image.Look = remembers(guestmem.View{Tasks: v.Tasks[:3]})
	limits.Deadline = 4 * time.Second
	if res, err = boot(t, req); err != nil {
		t.Fatal(err)
	}
	if res.Outcome != scenarios.Slow {
		t.Errorf("outcome %s (%s)", res.Outcome, res.Why)
	}
}

// A kernel that was moved has its functions elsewhere.
func TestPlacesOfAMovedKernel(t *testing.T) {
	t.Parallel()
	v := sleeper()
	v.Offset = 0x1000000
	req := request(t, "deaf", &quick)
	req.Image.Look = remembers(v)
	req.Image.Symbol = func(addr uint64) (string, bool) { return fmt.Sprintf("at_%x", addr), true }
	res, err := boot(t, req)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range hang(t, res).Registers {
		if want := fmt.Sprintf("at_%x", r.PC-v.Offset); r.Symbol != want {
			t.Errorf("%#x is %s, want %s", r.PC, r.Symbol, want)
		}
	}
}

// What was seen of a guest that went on says nothing of how it ends.
func TestMemoryOfASuspicionThatWasNoneIsForgotten(t *testing.T) {
	t.Parallel()
	limits := quick
	limits.Busy = time.Second
	req := request(t, "works-then-halts", &limits)
	req.Image.Look = remembers(sleeper())
	res, err := boot(t, req)
	if err != nil {
		t.Fatal(err)
	}
	if res.Outcome != scenarios.Stopped || len(res.Stalls) == 0 || res.Stalls[0].Memory == nil {
		t.Fatalf("outcome %s (%s), stalls %+v: want one that was looked at", res.Outcome, res.Why, res.Stalls)
	}
	if res.Diagnosis == nil || strings.Contains(res.Diagnosis.Title, "slow_init") {
		t.Errorf("diagnosis %+v", res.Diagnosis)
	}
}
