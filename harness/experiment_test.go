package harness_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/harness"
	"github.com/unwedge/unwedge/harness/internal/guestmem"
	"github.com/unwedge/unwedge/harness/internal/guestmem/physmem"
	"github.com/unwedge/unwedge/harness/internal/probe/gdb/gdbtest"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
	"github.com/unwedge/unwedge/scenarios"
)

// hangsThen is a guest that starves, and does what it is told once a probe has
// been made.
func hangsThen(did func(f *fake, cmd string)) play {
	return play{
		cont: func(f *fake) {
			if f.conts.Load() == 1 {
				hello(f)
			}
		},
		key: func(f *fake, key byte) { f.sysrqDump(key) },
		did: did,
		gdb: &gdbtest.Stub{
			Regs: map[string]map[int]uint64{"01": {}}, Memory: map[uint64]byte{}, Breaks: map[uint64]bool{},
			Run: func(*gdbtest.Stub, string) string { return "" },
		},
	}
}

// reacts goes on, to user space, once it has a virtio-rng or enough key presses.
func reacts(f *fake, cmd string) {
	plugged := false
	switch cmd {
	case "input-send-event":
		if f.keys++; f.keys == 3 {
			f.print("[   20.000000] random: crng init done")
			f.tell(report("userspace"))
		}
	case "device_add":
		plugged = true
	}
	if plugged {
		f.print("[   30.000000] pci 0000:01:00.0: [1af4:1044] type 00 class 0x00ff00", "", "init: \x1b[31mI could not wait", "[   31.0] systemd[1]: it failed again")
		f.tell(report("userspace"))
	}
}

// probePlays are what a guest can do when it is experimented on.
var probePlays = map[string]play{
	"probe-reacts": hangsThen(reacts),
	"probe-seeded-before": {cont: func(f *fake) {
		hello(f)
		f.print("[    0.300000] random: crng init done")
	}},
	"probe-deaf": hangsThen(nil),
	"probe-sees": hangsThen(func(f *fake, cmd string) {
		if cmd == "device_add" {
			f.print("[   30.000000] pci 0000:01:00.0: [1af4:1044] type 00 class 0x00ff00")
		}
	}),
	"probe-seeded": hangsThen(func(f *fake, cmd string) {
		if cmd == "device_add" {
			f.print("[   30.000000] random: crng init done")
		}
	}),
	"probe-talks": hangsThen(func(f *fake, cmd string) {
		if cmd == "device_add" { // its time is up, whatever is plugged in
			f.print("[   30.000000] dracut-initqueue[77]: Warning: dracut-initqueue: timeout, still waiting")
		}
	}),
	"probe-panics": hangsThen(func(f *fake, cmd string) {
		if cmd == "device_add" {
			f.print("[   30.000000] Kernel panic - not syncing: too much", "[   30.1] ---[ end Kernel panic - not syncing: too much ]---")
		}
	}),
	"probe-dies": hangsThen(func(_ *fake, cmd string) {
		if cmd == "device_add" {
			os.Exit(7)
		}
	}),
	"probe-no-plug":     with(hangsThen(reacts), func(p *play) { p.refuse = only("Bus 'slot0' does not support hotplugging", "device_add") }),
	"probe-no-snapshot": with(hangsThen(reacts), func(p *play) { p.refuse = only("State blocked by a device", "snapshot-save") }),
	"probe-no-rewind":   with(hangsThen(reacts), func(p *play) { p.refuse = only("no such snapshot", "snapshot-load") }),
	"probe-no-stop":     with(hangsThen(reacts), func(p *play) { p.refuse = only("not now", "stop") }),
}

// refusesSleeper is a guest whose task is in no state to be touched.
func refusesSleeper(context.Context, physmem.Reader, string, int, []string) (*guestmem.Sleeper, error) {
	return nil, fmt.Errorf("init (PID 1) runs: %w", guestmem.ErrNotInSyscall)
}

func probed(t *testing.T, name string, probes ...result.ProbeName) *result.Result {
	t.Helper()
	req := request(t, name, &quick)
	req.Probes, req.Machine.Slot, req.Image.Sleeper = probes, true, refusesSleeper
	res, err := boot(t, req)
	if err != nil {
		t.Fatal(err)
	}
	if res.Outcome != scenarios.Hung || res.Diagnosis == nil || res.Diagnosis.Cause != result.CauseEntropy || len(res.Probes) != len(probes) {
		t.Fatalf("outcome %s (%s), diagnosis %+v, probes %+v", res.Outcome, res.Why, res.Diagnosis, res.Probes)
	}
	for _, err := range checkOrder(res) {
		t.Error(err)
	}
	for i, p := range res.Probes {
		if p.Name != probes[i] || p.Outcome == "" || p.Why == "" || p.Took < 0 || p.At < res.Times.Diagnosed {
			t.Errorf("probe %+v", p)
		}
	}
	if _, err := os.Stat(filepath.Join(req.Dir, rundir.ProbeState)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the kept state was left behind: %v", err)
	}
	return res
}

func TestProbes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		play   string
		probes []result.ProbeName
		want   string // outcome:boot:part of why, of each
	}{
		{"probe-reacts", result.ProbeNames(), "refused::runs|went-on:booted:reported userspace|went-on:booted:"},
		{"probe-deaf", []result.ProbeName{result.ProbeVirtioRNG}, "no-change:hung:showed no sign of having seen the device"},
		{"probe-sees", []result.ProbeName{result.ProbeVirtioRNG}, "no-change:hung:showed no sign of a driver binding to it"},
		{"probe-seeded", []result.ProbeName{result.ProbeVirtioRNG}, "no-change:hung:the random number generator was seeded"},
		{"probe-talks", []result.ProbeName{result.ProbeVirtioRNG}, "no-change:hung:showed no sign of having seen the device"},
		{"probe-panics", []result.ProbeName{result.ProbeVirtioRNG}, "went-on:panicked:"},
		{"probe-dies", []result.ProbeName{result.ProbeVirtioRNG}, "failed::exit status 7"},
		{"probe-no-plug", []result.ProbeName{result.ProbeVirtioRNG}, "failed::does not support hotplugging"},
		{"probe-no-snapshot", []result.ProbeName{result.ProbeInput, result.ProbeVirtioRNG}, "went-on:booted:|failed::State blocked by a device"},
		{"probe-no-rewind", []result.ProbeName{result.ProbeInput, result.ProbeVirtioRNG}, "went-on:booted:|failed::no such snapshot"},
		{"probe-no-stop", result.ProbeNames(), "refused::not now|refused::not now|refused::not now"},
		{"cured", []result.ProbeName{result.ProbeVirtioRNG}, "refused::no longer hangs"},
	} {
		t.Run(tt.play, func(t *testing.T) {
			t.Parallel()
			res := probed(t, tt.play, tt.probes...)
			for i, want := range strings.Split(tt.want, "|") {
				w := strings.SplitN(want, ":", 3)
				p := res.Probes[i]
				if string(p.Outcome) != w[0] || string(p.Boot) != w[1] || !strings.Contains(p.Why, w[2]) {
					t.Errorf("%s: %s, then %q: %s; want %s", p.Name, p.Outcome, p.Boot, p.Why, want)
				}
				if shown := p.Shows != ""; shown != (p.Outcome == result.ProbeWentOn || tt.play == "probe-seeded") {
					t.Errorf("%s: it shows %q", p.Name, p.Shows)
				}
			}
		})
	}
}

// What is known of the hang is what it would be without probes.
func TestProbesAreKeptApart(t *testing.T) {
	t.Parallel()
	res := probed(t, "probe-reacts", result.ProbeVirtioRNG)
	if len(res.Reports) != 0 || res.Stage != "" {
		t.Errorf("reports of the hang: %+v, stage %q", res.Reports, res.Stage)
	}
	log, err := os.ReadFile(filepath.Join(res.Dir, rundir.Console))
	if err != nil || strings.Contains(string(log), "1af4:1044") || int64(len(log)) != res.Console.Bytes {
		t.Errorf("console.log has %d bytes of %d, %v:\n%s", len(log), res.Console.Bytes, err, log)
	}
	p := res.Probes[0]
	if p.Stage != "userspace" || p.Said != "init: I could not wait" || len(p.Console) != 3 {
		t.Errorf("probe %+v", p)
	}
	for _, l := range p.Console {
		clean(t, l)
	}
	raw, err := os.ReadFile(filepath.Join(res.Dir, rundir.Probe))
	if err != nil || !strings.HasPrefix(string(raw), "# virtio-rng: plug in a virtio-rng device: went-on: ") || !strings.Contains(string(raw), "\n[   30.000000] pci 0000:01:00.0") {
		t.Errorf("probe.log: %v\n%s", err, raw)
	}
	if res.Files["probe"] != rundir.Probe {
		t.Errorf("files %v", res.Files)
	}
}

func TestProbingIsInterruptible(t *testing.T) {
	t.Parallel()
	stop := errors.New("stop it")
	for _, name := range result.ProbeNames() {
		t.Run(string(name), func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			req := request(t, "probe-deaf", &quick)
			req.Probes, req.Machine.Slot, req.Image.Sleeper = []result.ProbeName{name}, true, refusesSleeper
			req.Observer = &observer{on: func(p harness.Phase) {
				if p == harness.Probing {
					cancel(stop)
				}
			}}
			_, err := harness.Boot(ctx, req)
			nothingLeft(t, req.Dir)
			if !errors.Is(err, stop) {
				t.Errorf("error %v, want the context's cause", err)
			}
		})
	}
}

// What a probe would not show is not tried: here the guest has random numbers, and
// the task that the boot waits for is not known.
func TestSenselessProbesAreRefused(t *testing.T) {
	t.Parallel()
	req := request(t, "probe-seeded-before", &quick)
	req.Probes, req.Machine.Slot, req.Image.Sleeper = result.ProbeNames(), true, refusesSleeper
	res, err := boot(t, req)
	if err != nil || res.Outcome != scenarios.Hung || len(res.Probes) != 3 {
		t.Fatalf("%v, %+v", err, res)
	}
	for i, want := range []string{"is not known", "ready before the guest hung", "ready before the guest hung"} {
		if p := res.Probes[i]; p.Outcome != result.ProbeRefused || !strings.Contains(p.Why, want) || p.Shows != "" {
			t.Errorf("%s: %s: %s, want it refused: %s", p.Name, p.Outcome, p.Why, want)
		}
	}
}

// A boot that does not hang is not probed.
func TestGoodBootsAreNotProbed(t *testing.T) {
	t.Parallel()
	req := request(t, "boots-virtio", &quick)
	req.Probes, req.Machine.Slot = result.ProbeNames(), true
	res, err := boot(t, req)
	if err != nil || res.Outcome != scenarios.Booted || len(res.Probes) != 0 {
		t.Errorf("%v, %+v", err, res)
	}
}

func TestProbedGuestsAreNotKept(t *testing.T) {
	t.Parallel()
	req := request(t, "hangs", &quick)
	req.Probes, req.Keep = result.ProbeNames(), true
	if res, err := boot(t, req); err == nil || !strings.Contains(err.Error(), "cannot be kept") {
		t.Errorf("%v, %v", res, err)
	}
}
