package harness_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/unwedge/unwedge/harness"
	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/machine"
	"github.com/unwedge/unwedge/harness/internal/watch"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
	"github.com/unwedge/unwedge/images/agentproto"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"
	"github.com/unwedge/unwedge/scenarios/stage"
)

// quick are limits for guests that are meant to hang. Those that are meant to
// boot get the real ones, so that a loaded host cannot make a test fail.
var quick = result.Limits{
	Start: 400 * time.Millisecond, Idle: 400 * time.Millisecond, Busy: 30 * time.Second, Confirm: 200 * time.Millisecond,
	Settle: 50 * time.Millisecond, Hold: 10 * time.Second, Deadline: 5 * time.Minute,
}

// patience gives a fake whose host is loaded four seconds to begin to answer a key,
// see sysrq.Scaled. haste is for those that never answer.
var patience, haste = result.Reference{Unit: 12 * time.Second}, result.Reference{Unit: time.Second}

// request is a boot of the fake QEMU that plays the named play.
func request(t *testing.T, name string, limits *result.Limits) harness.Request {
	t.Helper()
	return harness.Request{
		Machine: machine.Spec{
			QEMU: os.Args[0], Accel: result.TCG, Kernel: "/boot/vmlinuz",
			Scenario: scenarios.Scenario{
				Name: "random", Arch: arch.X86_64, Entropy: scenarios.None, Initramfs: scenarios.Tiny, Root: scenarios.NoRoot,
				MemoryMiB: 256, CPUs: 1, Cmdline: []string{"fake=" + name},
			},
		},
		Kernel: result.Kernel{Release: release, BuildID: buildID},
		Dir:    t.TempDir(), Version: "test", Limits: limits, Reference: patience,
	}
}

// boot boots, and checks that nothing is left of it.
func boot(t *testing.T, req harness.Request) (*result.Result, error) {
	t.Helper()
	res, err := harness.Boot(t.Context(), req)
	nothingLeft(t, req.Dir)
	if (res == nil) == (err == nil) {
		t.Errorf("Boot returned %v and %v: it must be one of them", res, err)
	}
	if err != nil && !errors.Is(err, harness.ErrQEMU) {
		t.Errorf("error %v does not wrap ErrQEMU", err)
	}
	return res, err
}

// nothingLeft checks that QEMU and its sockets are gone. A leaked goroutine
// fails the package, see TestMain.
func nothingLeft(t *testing.T, dir string) {
	t.Helper()
	if pid, ok := fakePID(dir); ok && alive(pid) {
		t.Errorf("QEMU, pid %d, is still there", pid)
	}
	if _, err := os.Lstat(filepath.Join(dir, rundir.Sockets)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket directory is still there: %v", err)
	}
}

func fakePID(dir string) (int, bool) {
	b, err := os.ReadFile(filepath.Join(dir, pidFile))
	if err != nil {
		return 0, false
	}
	pid, err := strconv.Atoi(string(b))
	return pid, err == nil && pid > 1
}

func alive(pid int) bool { return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

func TestOutcomes(t *testing.T) {
	t.Parallel()
	patient := quick
	patient.Start, patient.Idle = time.Minute, time.Minute
	for _, tt := range []struct {
		play string
		fips bool
		want scenarios.Outcome
		why  string
	}{
		{play: "boots-console", want: scenarios.Booted, why: "the agent reports userspace"},
		{play: "boots-virtio", want: scenarios.Booted, why: "the agent reports userspace"},
		{play: "odd-events", want: scenarios.Booted, why: "the agent reports userspace"},
		{play: "console-closes", want: scenarios.Booted, why: "the agent reports userspace"},
		{play: "fips-off", want: scenarios.Booted, why: "the agent reports userspace"},
		{play: "fips-on", fips: true, want: scenarios.Booted, why: "the agent reports userspace"},
		{play: "fips-off", fips: true, want: scenarios.WrongState, why: "FIPS mode was requested but is off"},
		{play: "fips-unknown", fips: true, want: scenarios.WrongState, why: "FIPS mode was requested but is off"},
		{play: "other-build-id", want: scenarios.WrongState, why: "build ID ffffffffffffffffffffffffffffffffffffffff, expected " + buildID},
		{play: "other-release", want: scenarios.WrongState, why: `release 6.1.0-␛[31mother, expected ` + release},
		{play: "hwrng", want: scenarios.WrongState, why: "the guest has no entropy source, yet it uses the hwrng virtio_rng.0"},
		{play: "panics", want: scenarios.Panicked, why: "the kernel says: Kernel panic - not syncing: VFS: Unable to mount root fs"},
		{play: "pvpanic", want: scenarios.Panicked, why: "the guest reported a panic to QEMU"},
		{play: "powers-off", want: scenarios.Stopped, why: "the guest powered off (guest-shutdown)"},
		{play: "reboots", want: scenarios.Rebooting, why: "the guest has reset itself twice"},
	} {
		t.Run(tt.play, func(t *testing.T) {
			t.Parallel()
			req := request(t, tt.play, &patient)
			if tt.fips {
				req.Machine.Scenario.Initramfs, req.Machine.Scenario.Root = scenarios.DracutFIPS, scenarios.Ext4
				req.Machine.Scenario.Expect.Stage = stage.Userspace
			}
			res, err := boot(t, req)
			if err != nil {
				t.Fatal(err)
			}
			if res.Outcome != tt.want || !strings.Contains(res.Why, tt.why) {
				t.Errorf("outcome %s (%s), want %s (%s)", res.Outcome, res.Why, tt.want, tt.why)
			}
			if res.Expected != (tt.want == scenarios.Booted) {
				t.Errorf("expected = %v with outcome %s", res.Expected, res.Outcome)
			}
			if (res.Diagnosis == nil) != (tt.want == scenarios.Booted) {
				t.Errorf("diagnosis %v with outcome %s", res.Diagnosis, res.Outcome)
			}
			if len(res.Stalls) > 0 {
				t.Errorf("stalls %+v in a boot that never stalled", res.Stalls)
			}
			checkArtifacts(t, req, res)
		})
	}
}

// checkArtifacts checks what every boot leaves behind.
func checkArtifacts(t *testing.T, req harness.Request, res *result.Result) {
	t.Helper()
	read, err := result.Read(filepath.Join(req.Dir, rundir.Result))
	if err != nil {
		t.Fatal(err)
	}
	if read.Outcome != res.Outcome || read.Why != res.Why {
		t.Errorf("result.json says %s (%s)", read.Outcome, read.Why)
	}
	for what, name := range res.Files {
		if _, err := os.Stat(filepath.Join(req.Dir, name)); err != nil {
			t.Errorf("artifact %s: %v", what, err)
		}
	}
	for _, what := range []string{"console", "qemu-stderr", "qmp", "command", "result"} {
		if res.Files[what] == "" {
			t.Errorf("no artifact %q in %v", what, res.Files)
		}
	}
	log, err := os.ReadFile(filepath.Join(req.Dir, rundir.Console))
	if err != nil {
		t.Fatal(err)
	}
	if res.Console.Bytes != int64(len(log)) || res.Console.LeftOut != 0 {
		t.Errorf("the Result says %+v of a console log of %d bytes", res.Console, len(log))
	}
	if res.Host.QueryKVM == nil || res.Host.QueryKVM.Enabled || !res.Host.QueryKVM.Present {
		t.Errorf("query-kvm was recorded as %+v", res.Host.QueryKVM)
	}
	for _, must := range []string{"-S", "-no-shutdown", "-nodefaults", "virtio-serial-pci"} {
		if !slices.Contains(res.Host.Args, must) {
			t.Errorf("the recorded arguments %q lack %s, with which QEMU ran", res.Host.Args, must)
		}
	}
}

func TestHangIsCapturedAndExplained(t *testing.T) {
	t.Parallel()
	req := request(t, "hangs", &quick)
	seen := &observer{}
	req.Observer = seen
	res, err := boot(t, req)
	if err != nil {
		t.Fatal(err)
	}
	if res.Outcome != scenarios.Hung || res.Expected {
		t.Fatalf("outcome %s (%s), expected %v", res.Outcome, res.Why, res.Expected)
	}
	got := seen.phases()
	begin, end := []harness.Phase{harness.Starting, harness.Booting}, []harness.Phase{harness.Capturing, harness.Confirming, harness.Finished}
	if len(got) < 5 || !slices.Equal(got[:2], begin) || !slices.Equal(got[len(got)-3:], end) {
		t.Errorf("phases %v, want %v … %v", got, begin, end)
	}
	st := hang(t, res)
	if !st.Idle || st.WentOn || !strings.Contains(st.Why, "every vCPU idle") {
		t.Errorf("stall %+v", st)
	}
	if len(st.Registers) == 0 || st.Registers[0].PC != 0xffffffff81e4a0ab || !st.Registers[0].Halted {
		t.Errorf("registers %+v", st.Registers)
	}
	if got := yields(st.Attempts); got != "9:serial-break:captured w:serial-break:captured t:serial-break:captured l:serial-break:captured d:serial-break:captured m:serial-break:captured q:serial-break:captured" {
		t.Errorf("attempts %s", got)
	}
	d := res.Diagnosis
	if d == nil || d.Cause != result.CauseEntropy || d.Task == nil || d.Task.PID != 1 || d.Syscall != "getrandom" || d.Function != "wait_for_random_bytes" {
		t.Fatalf("diagnosis %+v", d)
	}
	dump, err := os.ReadFile(filepath.Join(req.Dir, rundir.Dump('t')))
	if err != nil || !strings.Contains(string(dump), "wait_for_random_bytes") || strings.Contains(string(dump), "Show Memory") {
		t.Errorf("dump of t: %v: %s", err, dump)
	}
	if r, err := os.ReadFile(filepath.Join(req.Dir, rundir.Registers)); err != nil || strings.Count(string(r), "RIP=ffffffff81e4a0ab") != len(st.Registers) {
		t.Errorf("registers.txt: %v: %s", err, r)
	}
	checkArtifacts(t, req, res)
	if err := errors.Join(checkOrder(res)...); err != nil {
		t.Error(err)
	}
}

// checkOrder checks that the times of a hang are in their order.
func checkOrder(res *result.Result) (errs []error) {
	st := res.Stalls[len(res.Stalls)-1]
	times := []time.Duration{0, res.Times.Stalled, st.Noticed, res.Times.Verdict, res.Times.Diagnosed, res.Times.Wall}
	if !slices.IsSorted(times) || res.Times.Stalled != st.At {
		errs = append(errs, fmt.Errorf("stalled, noticed, verdict, diagnosed, wall are not in order: %v, and the stall's is %s", times, st.At))
	}
	return errs
}

// hang returns the stall that was none of those withdrawn. There may be some on
// a host that is so loaded that the fake is slower than quick allows.
func hang(t *testing.T, res *result.Result) result.Stall {
	t.Helper()
	if res.Outcome != scenarios.Hung || len(res.Stalls) == 0 {
		t.Fatalf("outcome %s (%s), stalls %+v", res.Outcome, res.Why, res.Stalls)
	}
	n := len(res.Stalls) - 1
	for _, st := range res.Stalls[:n] {
		if !st.WentOn {
			t.Errorf("stall %+v was passed over, and the boot had not gone on", st)
		}
	}
	return res.Stalls[n]
}

func yields(as []result.Attempt) string {
	var words []string
	for _, a := range as {
		words = append(words, a.Key+":"+string(a.Route)+":"+string(a.Yield))
	}
	return strings.Join(words, " ")
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ play, want string }{
		{"keyboard", "9:serial-break:no-answer 9:keyboard:captured w:keyboard:captured t:keyboard:captured l:keyboard:captured d:keyboard:captured m:keyboard:captured q:keyboard:captured"},
		{"deaf", "9:serial-break:no-answer 9:keyboard:no-answer :nmi:no-answer"},
		{"never-says", "9:serial-break:no-answer 9:keyboard:no-answer :nmi:no-answer"},
		{"refuses", "9:serial-break:refused 9:keyboard:refused :nmi:refused"},
		{"no-sysrq", "9:serial-break:disabled w:serial-break:disabled t:serial-break:disabled l:serial-break:disabled d:serial-break:disabled m:serial-break:disabled q:serial-break:disabled"},
		{"console-floods", "9:serial-break:no-answer 9:keyboard:no-answer :nmi:no-answer"},
		{"agent-floods", "9:serial-break:no-answer 9:keyboard:no-answer :nmi:no-answer"},
		{"agent-floods-garbage", "9:serial-break:no-answer 9:keyboard:no-answer :nmi:no-answer"},
		{"console-closes-and-silence", "9:serial-break:no-answer 9:keyboard:no-answer :nmi:no-answer"},
	} {
		t.Run(tt.play, func(t *testing.T) {
			t.Parallel()
			req := request(t, tt.play, &quick)
			req.ConsoleCap = 1 << 20
			if !strings.Contains(tt.want, ":captured") && !strings.Contains(tt.want, ":disabled") {
				req.Reference = haste
			}
			res, err := boot(t, req)
			if err != nil {
				t.Fatal(err)
			}
			st := hang(t, res)
			if got := yields(st.Attempts); got != tt.want {
				t.Errorf("attempts %s\nwant     %s", got, tt.want)
			}
			for _, a := range st.Attempts {
				if a.Yield != result.Captured && (a.Layer == "" || a.Note == "") {
					t.Errorf("attempt %+v does not say which layer refused it", a)
				}
			}
			if res.Diagnosis == nil || tt.play != "keyboard" && res.Diagnosis.Cause == result.CauseEntropy {
				t.Errorf("diagnosis %+v without a dump", res.Diagnosis)
			}
			if len(res.Reports) > 256 || len(res.Notes) > 50 {
				t.Errorf("%d reports and %d notes were kept", len(res.Reports), len(res.Notes))
			}
			if info, err := os.Stat(filepath.Join(req.Dir, rundir.Console)); err != nil || info.Size() > 1<<20+1024 {
				t.Errorf("console log: %v, %v", info, err)
			}
		})
	}
}

func TestWithdrawnStall(t *testing.T) {
	t.Parallel()
	limits := quick
	limits.Confirm = time.Minute
	res, err := boot(t, request(t, "goes-on", &limits))
	if err != nil {
		t.Fatal(err)
	}
	if res.Outcome != scenarios.Booted || !res.Expected || res.Diagnosis != nil {
		t.Errorf("outcome %s (%s), diagnosis %v", res.Outcome, res.Why, res.Diagnosis)
	}
	if len(res.Stalls) < 2 {
		t.Errorf("stalls %+v: want two", res.Stalls)
	}
	for _, st := range res.Stalls {
		if !st.WentOn {
			t.Errorf("stall %+v: the boot went on after it", st)
		}
	}
}

// A kernel in its first steps dies of an NMI. That is no reboot of its own.
func TestLookingThatResetsIsStillAHang(t *testing.T) {
	t.Parallel()
	res, err := boot(t, request(t, "nmi-resets", &quick))
	if err != nil {
		t.Fatal(err)
	}
	hang(t, res)
	if res.Resets != 0 || !strings.Contains(strings.Join(res.Notes, "\n"), "NMI") {
		t.Errorf("%d resets, notes %q", res.Resets, res.Notes)
	}
}

func TestResetDuringAStallIsCounted(t *testing.T) {
	t.Parallel()
	limits := quick
	limits.Confirm = time.Minute
	res, err := boot(t, request(t, "resets-late", &limits))
	if err != nil {
		t.Fatal(err)
	}
	if res.Outcome != scenarios.Booted || res.Resets != 1 || len(res.Stalls) == 0 || !res.Stalls[0].WentOn {
		t.Errorf("outcome %s (%s), %d resets, stalls %+v", res.Outcome, res.Why, res.Resets, res.Stalls)
	}
}

// A vCPU whose registers do not change need not be waited for as long as one
// that computes.
func TestSpinningIsNoticedEarly(t *testing.T) {
	t.Parallel()
	limits := quick
	limits.Busy = time.Hour
	res, err := boot(t, request(t, "spins", &limits))
	if err != nil {
		t.Fatal(err)
	}
	if st := hang(t, res); st.Idle || !strings.Contains(st.Why, "registers do not change") || yields(st.Attempts) == "" {
		t.Errorf("stall %+v", st)
	}
}

func TestComputingIsNoStall(t *testing.T) {
	t.Parallel()
	limits := quick
	limits.Busy, limits.Deadline = 4*time.Second, time.Minute
	res, err := boot(t, request(t, "computes", &limits))
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range res.Stalls {
		if strings.Contains(st.Why, "registers do not change") || st.Noticed < limits.Busy {
			t.Errorf("stall %+v of a guest that computes", st)
		}
	}
}

// What a slow disk still answers is no stall, and at the deadline the boot is
// slow; what is written meanwhile (a journal's sync) says nothing.
func TestReadingADiskIsNoStall(t *testing.T) {
	t.Parallel()
	for play, want := range map[string]scenarios.Outcome{"reads": scenarios.Slow, "hangs": scenarios.Hung} {
		limits := quick
		limits.Deadline = 5 * time.Second
		req := request(t, play, &limits)
		req.Machine.Disks = []machine.Disk{{Path: "/root.img"}}
		res, err := boot(t, req)
		if err != nil {
			t.Fatal(err)
		}
		if res.Outcome != want || len(res.Stalls) == 0 || res.Stalls[0].Works != (play == "reads") {
			t.Errorf("%s: outcome %s (%s), stalls %+v", play, res.Outcome, res.Why, res.Stalls)
		}
	}
}

func TestLookingThatCuresIsStillAHang(t *testing.T) {
	t.Parallel()
	res, err := boot(t, request(t, "cured", &quick))
	if err != nil {
		t.Fatal(err)
	}
	if res.Outcome != scenarios.Hung || res.Diagnosis == nil || res.Diagnosis.Cause != result.CauseEntropy {
		t.Errorf("outcome %s (%s), diagnosis %+v", res.Outcome, res.Why, res.Diagnosis)
	}
	if notes := strings.Join(res.Notes, " "); !strings.Contains(notes, "the capture cured the hang") {
		t.Errorf("notes %s", notes)
	}
}

func TestTimerOfUserSpaceIsWaitedFor(t *testing.T) {
	t.Parallel()
	req := request(t, "timer", &quick)
	seen := &observer{}
	req.Observer = seen
	res, err := boot(t, req)
	if err != nil {
		t.Fatal(err)
	}
	const due = 700 * time.Millisecond
	st := hang(t, res)
	if st.Wake != due {
		t.Errorf("stall %+v: want to wait %s", st, due)
	}
	if waited := res.Times.Verdict - st.Noticed; waited < due+quick.Confirm {
		t.Errorf("the verdict came %s after the suspicion, before the timer was due", waited)
	}
	if !strings.Contains(seen.text(), "confirming: a timer is due in 700ms") {
		t.Errorf("phases: %s", seen.text())
	}
}

func TestHarnessAndQEMUFailures(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ play, want string }{
		{"exits-at-start", "exit status 1: qemu-system-x86_64: ␛[31mCould not access KVM kernel module: No such file or directory"},
		{"exits-fine", "QEMU exited with status 0"},
		{"dies", "exit status 134: qemu-system-x86_64: ../accel/tcg/translate-all.c:42: assertion failed"},
		{"dies-in-capture", "exit status 7: qemu-system-x86_64: killed by a key"},
		{"told-to-end", "QEMU was told to quit: host-signal"},
		{"qemu-error", "QEMU stopped the guest on an internal error: internal-error"},
		{"garbage-greeting", "peer does not speak QMP"},
		{"no-greeting", "no reply from QMP within"},
		{"no-cpus", "query-cpus-fast: no reply from QMP within"},
		{"refuses-cont", "qmp cont: GenericError: Resetting the Virtual Machine is required"},
		{"qmp-silent", "no reply from QMP within"},
		{"qmp-garbage", "peer does not speak QMP"},
		{"qmp-closes", "the QMP connection was lost: QMP connection closed: peer left: EOF"},
		{"no-such-play", "fake: no such play: no-such-play"},
	} {
		t.Run(tt.play, func(t *testing.T) {
			t.Parallel()
			req := request(t, tt.play, &quick)
			if strings.Contains(tt.want, "no reply") {
				req.QMPTimeout = 300 * time.Millisecond
			}
			if strings.Contains(tt.want, "query-cpus-fast") { // all before it is answered, on a slow host too
				req.QMPTimeout = 10 * time.Second
			}
			_, err := boot(t, req)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v\nwant one with %q", err, tt.want)
			}
			clean(t, err.Error())
			for _, name := range []string{rundir.Command, rundir.QEMUStderr} {
				if _, err := os.Stat(filepath.Join(req.Dir, name)); err != nil {
					t.Errorf("artifact: %v", err)
				}
			}
			if _, err := os.Stat(filepath.Join(req.Dir, rundir.Result)); err == nil {
				t.Error("there is a result.json, though nothing is known about the kernel")
			}
		})
	}
}

// clean checks that a text is one line without control characters.
func clean(t *testing.T, text string) {
	t.Helper()
	if console.Sanitize(text) != text {
		t.Errorf("not one clean line: %q", text)
	}
}

func TestHostileAgent(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		play  string
		notes int
	}{{"agent-garbage", 8}, {"agent-long-line", 2}} { // and then a report of init
		t.Run(tt.play, func(t *testing.T) {
			t.Parallel()
			res, err := boot(t, request(t, tt.play, &quick))
			if err != nil {
				t.Fatal(err)
			}
			if res.Outcome != scenarios.Hung || len(res.Reports) != 1 || res.Stage != stage.Init {
				t.Errorf("outcome %s (%s), reports %+v", res.Outcome, res.Why, res.Reports)
			}
			if len(res.Notes) != tt.notes {
				t.Errorf("%d notes, want %d: %q", len(res.Notes), tt.notes, res.Notes)
			}
			for _, n := range res.Notes {
				clean(t, n)
			}
		})
	}
}

func TestDeadline(t *testing.T) {
	t.Parallel()
	limits := watch.Scale(result.Reference{})
	req := request(t, "boots-slowly", &limits)
	req.Machine.Scenario.Deadline = 700 * time.Millisecond
	res, err := boot(t, req)
	if err != nil {
		t.Fatal(err)
	}
	if res.Outcome != scenarios.Slow || !strings.Contains(res.Why, "still making progress at the deadline of 700ms") {
		t.Errorf("outcome %s (%s)", res.Outcome, res.Why)
	}
	if res.Host.Limits.Deadline != req.Machine.Scenario.Deadline {
		t.Errorf("the recorded limits are %+v", res.Host.Limits)
	}
}

func TestExpectations(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		expect scenarios.Expect
		want   bool
	}{
		{"panic", scenarios.Expect{Outcome: scenarios.Panicked}, true},
		{"panic of a cause", scenarios.Expect{Outcome: scenarios.Panicked, Cause: "root-mount-failed"}, true},
		{"panic of another cause", scenarios.Expect{Outcome: scenarios.Panicked, Cause: "init-died"}, false},
		{"hang", scenarios.Expect{Outcome: scenarios.Hung}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			req := request(t, "panics", &quick)
			req.Machine.Scenario.Expect = tt.expect
			res, err := boot(t, req)
			if err != nil {
				t.Fatal(err)
			}
			if res.Expected != tt.want {
				t.Errorf("expected = %v of outcome %s, cause %s", res.Expected, res.Outcome, res.Diagnosis.Cause)
			}
		})
	}
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	stop := errors.New("stop it")
	check := func(t *testing.T, req harness.Request, err error) {
		t.Helper()
		nothingLeft(t, req.Dir)
		if !errors.Is(err, stop) || errors.Is(err, harness.ErrQEMU) {
			t.Errorf("error %v, want the context's cause", err)
		}
		if _, err := os.Stat(filepath.Join(req.Dir, rundir.Command)); err != nil {
			t.Errorf("artifact: %v", err)
		}
	}
	for _, phase := range []harness.Phase{harness.Starting, harness.Booting, harness.Capturing, harness.Confirming} {
		for _, keep := range []bool{false, true} {
			t.Run(string(phase)+"-"+strconv.FormatBool(keep), func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				limits := quick
				limits.Confirm = time.Hour
				req := request(t, "hangs", &limits)
				req.Keep = keep
				req.Observer = &observer{on: func(p harness.Phase) {
					if p == phase {
						cancel(stop)
					}
				}}
				_, err := harness.Boot(ctx, req)
				check(t, req, err)
			})
		}
	}
	t.Run("connecting", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		req := request(t, "no-greeting", nil)
		onReady(t, req.Dir, func(net.Conn) { cancel(stop) })
		_, err := harness.Boot(ctx, req)
		check(t, req, err)
	})
}

// onReady calls f when the fake says that it is ready.
func onReady(t *testing.T, dir string, f func(net.Conn)) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(dir, readySocket))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if c, err := l.Accept(); err == nil {
			f(c)
			c.Close()
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
}

func TestArtifactsThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	full := func(name string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			if err := os.Symlink("/dev/full", filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	blocked := func(name string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, tt := range []struct {
		name, play, want string
		spoil            func(t *testing.T, dir string)
	}{
		{"no directory", "boots-console", "no such file or directory", func(t *testing.T, dir string) {
			if err := os.Remove(dir); err != nil {
				t.Fatal(err)
			}
		}},
		{"command", "boots-console", "write qemu.sh", full(rundir.Command)},
		{"sockets", "boots-console", "make socket directory", func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, rundir.Sockets), nil, 0o644); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.Remove(filepath.Join(dir, rundir.Sockets)) })
		}},
		{"stderr", "boots-console", "open stderr file", blocked(rundir.QEMUStderr)},
		{"qmp", "boots-console", "make qmp.jsonl", blocked(rundir.QMP)},
		{"console", "boots-console", "make console log", blocked(rundir.Console)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			req := request(t, tt.play, nil)
			tt.spoil(t, req.Dir)
			_, err := harness.Boot(t.Context(), req)
			if err == nil || !errors.Is(err, harness.ErrQEMU) || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v\nwant ErrQEMU with %q", err, tt.want)
			}
			clean(t, err.Error())
			if tt.name != "sockets" {
				nothingLeft(t, req.Dir)
			}
		})
	}
}

// A complaint of a kernel that has reached user space counts up to the guest's end.
func TestLastComplaintIsAFinding(t *testing.T) {
	t.Parallel()
	res, err := boot(t, request(t, "complains-last", nil))
	if err != nil {
		t.Fatal(err)
	}
	if res.Outcome != scenarios.Booted || !res.Unclean || res.Expected || len(res.Findings) != 1 {
		t.Errorf("outcome %s, unclean %v, expected %v, findings %+v", res.Outcome, res.Unclean, res.Expected, res.Findings)
	}
}

// What is known is told, whatever cannot be written.
func TestWhatIsKnownIsToldWithoutItsFile(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, want string
		spoil      func(path string) error
	}{
		{rundir.Console, "write console log: ", func(path string) error { return os.Symlink("/dev/full", path) }},
		{rundir.Agent, "write agent.jsonl: ", func(path string) error { return os.Symlink("/dev/full", path) }},
		{rundir.Result, "write result: ", func(path string) error { return os.Mkdir(path, 0o755) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			req := request(t, "hangs-reports", &quick)
			if err := tt.spoil(filepath.Join(req.Dir, tt.name)); err != nil {
				t.Fatal(err)
			}
			res, err := boot(t, req)
			if err != nil {
				t.Fatal(err)
			}
			if res.Outcome != scenarios.Hung || res.Diagnosis == nil {
				t.Errorf("outcome %s, diagnosis %+v", res.Outcome, res.Diagnosis)
			}
			if told := strings.Join(res.Notes, "\n"); !strings.Contains(told, tt.want) {
				t.Errorf("no note on %q in:\n%s", tt.want, told)
			}
		})
	}
}

// The console is parsed as it comes: what becomes of its file is no matter.
func TestDiagnosisDoesNotReadTheConsoleLog(t *testing.T) {
	t.Parallel()
	res, err := boot(t, request(t, "spoils-log", &quick))
	if err != nil {
		t.Fatal(err)
	}
	if hang(t, res); res.Diagnosis == nil || res.Diagnosis.Cause != result.CauseEntropy {
		t.Errorf("diagnosis %+v", res.Diagnosis)
	}
}

func TestFullDiskCostsDumpsAndTranscriptOnly(t *testing.T) {
	t.Parallel()
	req := request(t, "spoils-dumps", &quick)
	if err := os.Symlink("/dev/full", filepath.Join(req.Dir, rundir.QMP)); err != nil {
		t.Fatal(err)
	}
	res, err := boot(t, req)
	if err != nil {
		t.Fatal(err)
	}
	if res.Outcome != scenarios.Hung || res.Diagnosis == nil || res.Diagnosis.Cause != result.CauseEntropy {
		t.Errorf("outcome %s, diagnosis %+v", res.Outcome, res.Diagnosis)
	}
	notes := strings.Join(res.Notes, "\n")
	for _, want := range []string{"write registers.txt: ", "write dump-sysrq-t.txt: ", "QMP transcript"} {
		if !strings.Contains(notes, want) || !strings.Contains(notes, "no space left on device") {
			t.Errorf("no note on %q in:\n%s", want, notes)
		}
	}
}

// onTmpfs runs a boot on a file system that is really full.
func TestRealFullDisk(t *testing.T) {
	t.Parallel()
	req := request(t, "boots-console", nil)
	if err := syscall.Mount("tmpfs", req.Dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("a file system that is full needs the right to mount: %v", err)
	}
	t.Cleanup(func() {
		// A child that another test just forks may hold a file of it until its exec.
		if err := syscall.Unmount(req.Dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	f, err := os.Create(filepath.Join(req.Dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(f, io.LimitReader(zeros{}, 1<<20)); err == nil {
		t.Fatalf("wrote %d bytes to a file system of 64 KiB", n)
	}
	f.Close()
	_, err = boot(t, req)
	if err == nil || !errors.Is(err, harness.ErrQEMU) || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("error %v, want ErrQEMU and ENOSPC", err)
	}
	clean(t, err.Error())
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestLongDirectory(t *testing.T) {
	t.Parallel()
	req := request(t, "boots-virtio", nil)
	req.Dir = filepath.Join(req.Dir, strings.Repeat("a long, name ", 15))
	if err := os.MkdirAll(req.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	res, err := boot(t, req)
	if err != nil || res.Outcome != scenarios.Booted {
		t.Fatalf("%+v, %v", res, err)
	}
}

func TestBadScenario(t *testing.T) {
	t.Parallel()
	req := request(t, "boots-console", nil)
	req.Machine.Scenario.CPUs = 0
	if _, err := boot(t, req); err == nil || !strings.Contains(err.Error(), "cpus 0") {
		t.Fatalf("error %v", err)
	}
}

// observer writes down what it is told.
type observer struct {
	on func(harness.Phase)

	mu   sync.Mutex
	said []string
	seen []harness.Phase
}

func (o *observer) Line(console.Line)        {}
func (o *observer) Report(agentproto.Report) {}
func (o *observer) Phase(p harness.Phase, why string) {
	o.mu.Lock()
	o.seen = append(o.seen, p)
	o.said = append(o.said, string(p)+": "+why)
	o.mu.Unlock()
	if o.on != nil {
		o.on(p)
	}
}

func (o *observer) phases() []harness.Phase {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.seen)
}

func (o *observer) text() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Join(o.said, "\n")
}
