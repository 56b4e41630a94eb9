package report_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/unwedge/unwedge/harness/report"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/images/agentproto"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"
	"github.com/unwedge/unwedge/scenarios/stage"
)

var update = flag.Bool("update", false, "write the golden files anew")

func fips(n int) *int { return &n }

func booted() *result.Result {
	return &result.Result{
		Schema: result.Schema, Outcome: scenarios.Booted, Expected: true, Why: "the agent reports userspace",
		Scenario: scenarios.Scenario{Name: "tiny/x86_64/none/tiny", Arch: arch.X86_64, Entropy: scenarios.None, Initramfs: scenarios.Tiny, Root: scenarios.NoRoot},
		Kernel:   result.Kernel{Release: "6.1.0-40-cloud-amd64"},
		Stage:    stage.Userspace,
		Reports: []agentproto.Report{
			{V: 1, Stage: stage.Init, Uptime: 1.2, HWRNG: "none"},
			{V: 1, Stage: stage.Userspace, Uptime: 1.3, HWRNG: "none", CRNG: true, CRNGReadyAt: 0.9, FIPS: fips(0)},
		},
		Host:  result.Host{QEMUVersion: "7.2.22", Accel: "tcg", AccelWhy: "/dev/kvm does not run guests"},
		Times: result.Times{Verdict: 3210 * time.Millisecond},
		Dir:   "/runs/1",
	}
}

func hung() *result.Result {
	r := booted()
	r.Outcome, r.Expected, r.Why, r.Confidence = scenarios.Hung, false, "no progress for 10s with every vCPU idle", result.Likely
	r.Reports, r.Stage = r.Reports[:1], stage.Init
	r.Times = result.Times{Verdict: 18 * time.Second, Stalled: 2500 * time.Millisecond, Diagnosed: 18200 * time.Millisecond}
	r.Stalls = []result.Stall{{
		At: 2500 * time.Millisecond, Noticed: 12500 * time.Millisecond, Why: r.Why, Idle: true,
		Confidence: result.Likely,
		Memory:     &result.Memory{Tasks: 33, Took: 90 * time.Millisecond, Ticks: 504, Problems: []string{"a list was torn", "another"}},
		Registers:  []result.CPUSample{{PC: 0xffffffff81000000, Symbol: "native_safe_halt+0xb/0x10", Halted: true}, {PC: 0xffffffff81000000, Symbol: "native_safe_halt+0xb/0x10"}, {CPU: 1, PC: 0x7f00, User: true}},
		Attempts: []result.Attempt{
			{Key: "9", Route: result.Break, Yield: result.NoAnswer, Layer: "guest"}, {Key: "9", Route: result.Keyboard, Yield: result.Captured},
			{Key: "t", Route: result.Keyboard, Yield: result.Captured}, {Key: "l", Route: result.Keyboard, Yield: result.Disabled, Layer: "kernel"},
			{Route: result.NMI, Yield: result.Refused, Layer: "qemu"},
		},
	}}
	r.Diagnosis = &result.Diagnosis{
		Kind: result.KindHang, Cause: result.CauseEntropy, Confidence: result.Likely, Where: result.WhereKernel,
		Title: "init blocked in getrandom: no entropy", Summary: "The random number generator is never seeded.",
		Task:   &result.Blocked{Comm: "systemd", PID: 1, State: "S"},
		Chain:  []result.Link{{Comm: "systemd", PID: 1, State: "S", Syscall: "wait4", Why: "waits for its child 42"}, {Comm: "sub", PID: 42, State: "S", Syscall: "getrandom", Func: "wait_for_random_bytes"}},
		Remedy: "Give the guest a virtio-rng device.",
		Evidence: []result.Evidence{
			{What: "the task's stack", Source: "sysrq-t", Lines: []string{"wait_for_random_bytes+0xe4/0x180", "__do_sys_getrandom+0x7b/0xa0"}},
			{What: "a long one", Source: "console", Lines: strings.Split(strings.Repeat("line ", 20), " ")},
		},
		Notes: []string{"the dump may be torn"}, References: []string{"commit 43838a23a05f"},
	}
	r.Notes = []string{"the kernel came without the modules virtio_rng"}
	return r
}

func probed() *result.Result {
	r := hung()
	r.Notes = nil
	r.Probes = []result.Probe{
		{
			Name: result.ProbeSyscall, Did: "make getrandom() of init (PID 1) return ENOMEM", Outcome: result.ProbeWentOn, Why: "user space printed something",
			At: 19 * time.Second, Took: 2 * time.Second, After: 300 * time.Millisecond, Boot: scenarios.Booted, Stage: stage.Userspace,
			Said: "init: getrandom: cannot allocate memory", Console: []string{"init: getrandom: cannot allocate memory"},
			Shows: "the boot waited for this one system call: once it returned, the boot went on, to the outcome booted",
		},
		{Name: result.ProbeInput, Outcome: result.ProbeRefused, Why: "the guest does not wait: a vCPU is busy", At: 21 * time.Second},
		{
			Name: result.ProbeVirtioRNG, Did: "plug in a virtio-rng device", Outcome: result.ProbeNoChange, Why: "it hangs as before", At: 21 * time.Second,
			Took: 10 * time.Second, Boot: scenarios.Hung, Console: strings.Fields("one two three four five six seven eight"),
		},
	}
	return r
}

func panicked() *result.Result {
	r := booted()
	r.Outcome, r.Expected, r.Why = scenarios.Panicked, true, "the kernel says: Kernel panic - not syncing: Attempted to kill init!"
	r.Reports, r.Scenario.Expect = nil, scenarios.Expect{Outcome: scenarios.Panicked}
	r.Diagnosis = &result.Diagnosis{Kind: result.KindPanic, Cause: result.CauseInitDied, Confidence: result.Certain, Where: result.WhereUserspace, Title: "PID 1 died", Summary: "PID 1 exited."}
	return r
}

func noCapture() *result.Result {
	r := hung()
	r.Stalls = []result.Stall{{At: time.Second, Noticed: 2 * time.Second, WentOn: true}, {At: 2500 * time.Millisecond, Noticed: 12500 * time.Millisecond}}
	r.Diagnosis = &result.Diagnosis{Kind: result.KindHang, Cause: result.CauseUnknown, Confidence: result.Unknown, Where: result.WhereUnknown, Title: "hang, cause unknown", Summary: "Nothing is known."}
	return r
}

func keptGuest() *result.Result {
	r := noCapture()
	r.Dir = "/my runs/it's 1"
	r.Kept = &result.Kept{PID: 4242, Console: "/my runs/it's 1/sockets/console", QMP: "/my runs/it's 1/sockets/qmp", GDB: "/my runs/it's 1/sockets/gdb"}
	return r
}

var samples = map[string]func() *result.Result{
	"booted": booted, "hung-with-chain": hung, "panicked-as-expected": panicked, "hung-without-capture": noCapture, "kept": keptGuest, "probed": probed,
}

func text(t testing.TB, r *result.Result, s report.Style) string {
	t.Helper()
	var b strings.Builder
	if err := report.Text(&b, r, s); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestGolden(t *testing.T) {
	for name, make := range samples {
		t.Run(name, func(t *testing.T) {
			got := text(t, make(), report.Style{})
			file := filepath.Join("testdata", name+".txt")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("report:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

func TestColoursOnlyWhenAsked(t *testing.T) {
	for name, make := range samples {
		plain, coloured := text(t, make(), report.Style{}), text(t, make(), report.Style{Colour: true})
		if strings.Contains(plain, "\x1b") {
			t.Errorf("%s: colours that nobody asked for", name)
		}
		if !strings.Contains(coloured, "\x1b[") || uncoloured(coloured) != plain {
			t.Errorf("%s: colours change more than the colour:\n%q\n%q", name, coloured, plain)
		}
	}
	if got := (report.Style{Colour: true}).Verdict(booted()); got != "\x1b[32mBOOTED\x1b[0m" {
		t.Errorf("%q", got)
	}
	if got := (report.Style{Colour: true}).Verdict(hung()); got != "\x1b[31mHUNG\x1b[0m" {
		t.Errorf("%q", got)
	}
}

func uncoloured(s string) string {
	return strings.NewReplacer("\x1b[31m", "", "\x1b[32m", "", "\x1b[33m", "", "\x1b[1m", "", "\x1b[0m", "").Replace(s)
}

// hostile puts s into every string of r.
func hostile(v reflect.Value, s string) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		hostile(v.Elem(), s)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range v.NumField() {
			hostile(v.Field(i), s)
		}
	case reflect.Slice:
		if v.Len() == 0 {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		}
		for i := range v.Len() {
			hostile(v.Index(i), s)
		}
	case reflect.String:
		v.SetString(s)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int64:
		v.SetInt(1)
	}
}

// acts returns the first rune of a report that a terminal acts on.
func acts(s string) (rune, bool) {
	for _, r := range s {
		if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) || r == unicode.ReplacementChar {
			return r, true
		}
	}
	return 0, false
}

func FuzzText(f *testing.F) {
	f.Add("\x1b[2J\x1b]0;owned\x07\r\n\x9b31m\u202e\u2028\xff\x00", true)
	f.Add("plain", false)
	f.Fuzz(func(t *testing.T, s string, went bool) {
		if strings.Contains(s, "\uFFFD") {
			t.Skip("a valid U+FFFD is no sign of bad text")
		}
		r := hung()
		hostile(reflect.ValueOf(r).Elem(), s)
		for i := range r.Stalls {
			r.Stalls[i].WentOn = went
		}
		for i := range r.Stalls[0].Registers {
			r.Stalls[0].Registers[i].User = went
		}
		got := text(t, r, report.Style{})
		if c, ok := acts(got); ok {
			t.Errorf("%U in:\n%q", c, got)
		}
		if lines := strings.Count(got, "\n"); lines > 100 {
			t.Errorf("%d lines: a guest's text makes lines of its own", lines)
		}
		coloured := text(t, r, report.Style{Colour: true})
		if uncoloured(coloured) != got {
			t.Errorf("colours:\n%q\n%q", coloured, got)
		}
	})
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestWriterThatFails(t *testing.T) {
	if err := report.Text(full{}, booted(), report.Style{}); err == nil {
		t.Error("no error")
	}
}

// Whatever is missing from a Result, there is a report on it.
func TestEmptyResult(t *testing.T) {
	if got := text(t, &result.Result{}, report.Style{}); got == "" {
		t.Error("nothing")
	}
}
