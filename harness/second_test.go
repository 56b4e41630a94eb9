package harness_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/unwedge/unwedge/harness"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
	"github.com/unwedge/unwedge/scenarios"
)

// isSecond says, in a fake, that this is the second boot.
func isSecond() bool {
	return slices.ContainsFunc(os.Args, func(a string) bool { return slices.Contains(strings.Fields(a), "initcall_debug") })
}

// comesUp is how a kernel begins that does not get to user space.
func comesUp(f *fake) {
	f.print("[    0.000000] Linux version "+release, "[    0.100000] smp: Brought up 1 node, 1 CPU", "[    0.200000] pci 0000:00:01.0: ready")
}

// leavesOpen hangs so that nothing names what waits; again is what the second boot does.
func leavesOpen(again func(f *fake)) play {
	return play{cont: func(f *fake) {
		if comesUp(f); isSecond() {
			again(f)
		}
	}}
}

var secondPlays = map[string]play{
	"second-names": leavesOpen(func(f *fake) {
		f.print("[    0.210000] calling  demo_init+0x0/0x10 @ 1", "[    0.220000] initcall demo_init+0x0/0x10 returned 0 after 9 usecs", "[    0.230000] calling  stuck_init+0x0/0x10 @ 1")
	}),
	"second-alike":  leavesOpen(func(*fake) {}),
	"second-boots":  leavesOpen(func(f *fake) { f.tell(report("init"), report("userspace")) }),
	"second-panics": leavesOpen(func(f *fake) { f.print("[    0.300000] Kernel panic - not syncing: demo") }),
	"second-waits":  leavesOpen(func(f *fake) { f.ready() }),
	"second-dies": {cont: comesUp, start: func(*fake) {
		if isSecond() {
			panic("demo: this QEMU does not start")
		}
	}},
}

func TestSecondBoot(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		play    string
		told    result.Told
		outcome scenarios.Outcome
		says    string
		title   string // the joined one
	}{
		{"second-names", result.ToldMore, scenarios.Hung, "named what the first left open", "hang: initcall stuck_init does not return"},
		{"second-alike", result.ToldNothing, scenarios.Hung, "named no more", "hang: the kernel's start-up sleeps"},
		{"second-boots", result.ToldIntermittent, scenarios.Booted, "does not show in each boot", "hang: the kernel's start-up sleeps"},
		{"second-panics", result.ToldOtherwise, scenarios.Panicked, "in another way: kernel panic: demo", "hang: the kernel's start-up sleeps"},
		{"second-dies", result.ToldNotMade, "", "it could not be made: ", "hang: the kernel's start-up sleeps"},
	} {
		t.Run(tt.play, func(t *testing.T) {
			t.Parallel()
			req := request(t, tt.play, &quick)
			req.Again, req.Reference = true, haste
			seen := &observer{}
			req.Observer = seen
			res, err := boot(t, req)
			if err != nil {
				t.Fatal(err)
			}
			nothingLeft(t, filepath.Join(req.Dir, rundir.Second))
			if res.Outcome != scenarios.Hung || res.Expected || !strings.HasPrefix(res.Diagnosis.Title, tt.title) {
				t.Errorf("%s, expected %v: %s", res.Outcome, res.Expected, res.Diagnosis.Title)
			}
			s := res.Second
			if s == nil || s.Told != tt.told || s.Outcome != tt.outcome || !strings.Contains(s.Says, tt.says) || !slices.Equal(s.Added, []string{"initcall_debug", "ignore_loglevel"}) {
				t.Fatalf("second boot: %+v", s)
			}
			if (s.First != nil) != (tt.told == result.ToldMore) {
				t.Errorf("the first boot's own diagnosis is %+v", s.First)
			}
			if !slices.Contains(seen.phases(), harness.Again) {
				t.Errorf("phases %v", seen.phases())
			}
			checkArtifacts(t, req, res)
			if read, err := result.Read(filepath.Join(req.Dir, rundir.Result)); err != nil || read.Second == nil || read.Second.Told != tt.told {
				t.Errorf("result.json: %v, %+v", err, read)
			}
		})
	}
}

// TestNoSecondBoot: none is made where it is not wanted, cannot help, or would be in the
// way.
func TestNoSecondBoot(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*harness.Request){
		"once": func(r *harness.Request) { r.Again = false },
		"asked": func(r *harness.Request) {
			r.Machine.Scenario.Cmdline = append(r.Machine.Scenario.Cmdline, "initcall_debug")
		},
		"kept":      func(r *harness.Request) { r.Keep = true },
		"as wanted": func(r *harness.Request) { r.Machine.Scenario.Expect.Outcome = scenarios.Hung },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req := request(t, "second-alike", &quick)
			req.Again, req.Reference = true, haste
			change(&req)
			res, err := harness.Boot(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			if k := res.Kept; k != nil {
				if err := syscall.Kill(k.PID, syscall.SIGKILL); err != nil {
					t.Error(err)
				}
			} else {
				nothingLeft(t, req.Dir)
			}
			if res.Second != nil {
				t.Errorf("a second boot: %+v", res.Second)
			}
		})
	}
}

// TestSecondBootIsInterrupted: the first boot's Result is there all the same.
func TestSecondBootIsInterrupted(t *testing.T) {
	t.Parallel()
	req := request(t, "second-waits", &quick)
	req.Again, req.Reference = true, haste
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	second := false
	req.Observer = &observer{on: func(p harness.Phase) {
		second = second || p == harness.Again
		if second && p == harness.Booting {
			cancel(errors.New("interrupted"))
		}
	}}
	res, err := harness.Boot(ctx, req)
	if err != nil || res == nil {
		t.Fatal(err)
	}
	nothingLeft(t, req.Dir)
	nothingLeft(t, filepath.Join(req.Dir, rundir.Second))
	if s := res.Second; res.Outcome != scenarios.Hung || s == nil || s.Told != result.ToldNotMade || !strings.Contains(s.Says, "interrupted") {
		t.Errorf("%s, second boot %+v", res.Outcome, s)
	}
	if read, err := result.Read(filepath.Join(req.Dir, rundir.Result)); err != nil || read.Second == nil {
		t.Errorf("result.json: %v, %+v", err, read)
	}
}
