package accel

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/unwedge/unwedge/scenarios/arch"
)

const fakeEnv = "UNWEDGE_FAKE_QEMU"

// The fake QEMU is this test binary. It appends its arguments to the file
// that fakeEnv's second word names, and does what the first says.
func TestMain(m *testing.M) {
	mode := os.Getenv(fakeEnv)
	if mode == "" {
		goleak.VerifyTestMain(m)
		return
	}
	os.Exit(fakeQEMU(strings.Fields(mode)))
}

func fakeQEMU(mode []string) int {
	args := strings.Join(os.Args[1:], " ")
	if args == "--version" {
		fmt.Println("QEMU emulator version 8.2.0 (fake)")
		return 0
	}
	f, err := os.OpenFile(mode[1], os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return 9
	}
	fmt.Fprintln(f, args)
	switch mode[0] {
	case "runs":
		return 2*0x2a + 1
	case "exits":
		return 0
	case "stands": // as a vCPU that does not leave the host's kernel
		return monitor("RIP=fff0")
	case "lacks":
		if !strings.Contains(args, "arch-capabilities=off") {
			fmt.Fprintln(os.Stderr, "qemu: error: failed to set MSR 0x10a to 0x69")
			fmt.Fprintln(os.Stderr, "qemu: ../target/i386/kvm/kvm.c:2701: kvm_buf_set_msrs: Assertion `ret == cpu->kvm_msr_buf->nmsrs' failed.")
			return 134
		}
		return 2*0x2a + 1
	default:
		fmt.Fprintln(os.Stderr, "qemu: failed to set MSR 0x10a")
		return 1
	}
}

// monitor is QEMU's side of QMP, for a guest whose registers never change.
func monitor(registers string) int {
	l, err := net.FileListener(os.NewFile(3, "qmp"))
	if err != nil {
		return 9
	}
	conn, err := l.Accept()
	if err != nil {
		return 9
	}
	fmt.Fprintln(conn, `{"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 8}, "package": ""}, "capabilities": []}}`)
	for in := bufio.NewScanner(conn); in.Scan(); {
		var cmd struct {
			ID      string `json:"id"`
			Execute string `json:"execute"`
		}
		if err := json.Unmarshal(in.Bytes(), &cmd); err != nil {
			return 9
		}
		if cmd.Execute == "qmp_capabilities" {
			fmt.Fprintf(conn, "{\"return\": {}, \"id\": %q}\n", cmd.ID)
			continue
		}
		fmt.Fprintf(conn, "{\"return\": %q, \"id\": %q}\n", registers, cmd.ID)
	}
	return 9
}

// fake makes the test binary the QEMU, and returns its runs so far.
func fake(t *testing.T, mode string) (runs func() []string) {
	t.Helper()
	log := filepath.Join(t.TempDir(), "log")
	t.Setenv(fakeEnv, mode+" "+log)
	return func() []string {
		b, err := os.ReadFile(log)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		return strings.FieldsFunc(string(b), func(r rune) bool { return r == '\n' })
	}
}

func device(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kvm")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// patient is for a fake that answers: it ends what hangs, however slow the machine is.
var patient = Options{Timeout: 10 * time.Minute}

func TestProbe(t *testing.T) {
	for _, tt := range []struct {
		mode, name, reason string
		o                  Options
	}{
		{"runs", KVM, "a test guest ran under KVM", patient},
		{"fails", TCG, "test guest did not run under KVM: accel.test: exit status 1: qemu: failed to set MSR 0x10a", patient},
		{"exits", TCG, "test guest did not run under KVM: QEMU ended before the test guest had answered", patient},
		{"stands", TCG, "a test guest under KVM made no progress for 500ms", Options{Timeout: 500 * time.Millisecond}},
	} {
		t.Run(tt.mode, func(t *testing.T) {
			runs := fake(t, tt.mode)
			tt.o.Device, tt.o.HostArch, tt.o.Dir = device(t), arch.X86_64, filepath.Join(t.TempDir(), "new")
			for i := range 3 {
				tt.o.Fresh = i == 2
				got, err := Probe(t.Context(), arch.X86_64, os.Args[0], tt.o)
				want := Accel{Name: tt.name, Reason: tt.reason, Proven: tt.name == KVM, Remembered: i == 1}
				if diff := cmp.Diff(want, got); err != nil || diff != "" {
					t.Errorf("probe %d: %v -want +got:\n%s", i, err, diff)
				}
			}
			all := runs()
			if len(all) != 2 {
				t.Errorf("%d guest runs, want the first and the fresh one", len(all))
			}
			if len(all) > 0 && !strings.Contains(all[0], "-accel kvm -cpu host ") {
				t.Errorf("run = %s", all[0])
			}
		})
	}
}

// A slow host is no broken one: whoever gets on may take many times the limit.
func TestSlowIsNotBroken(t *testing.T) {
	for _, tt := range []struct {
		name  string
		gets  time.Duration // how long it makes progress
		ends  time.Duration // when it comes to its end
		want  error
		after time.Duration // at most
	}{
		{"slow", 60 * time.Second, 62 * time.Second, nil, 63 * time.Second},
		{"broken", 0, time.Hour, errStood, 6 * time.Second},
		{"broken in the middle", 20 * time.Second, time.Hour, errStood, 26 * time.Second},
		{"gets nowhere for ever", time.Hour, time.Hour, errStood, longest + time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start, done := time.Now(), make(chan struct{})
				end := time.AfterFunc(tt.ends, func() { close(done) })
				defer end.Stop()
				look := func(context.Context) string {
					return min(time.Since(start), tt.gets).Truncate(3 * time.Second).String()
				}
				err := await(t.Context(), done, look, DefaultTimeout)
				if took := time.Since(start); !errors.Is(err, tt.want) || took > tt.after {
					t.Errorf("%v after %v, want %v within %v", err, took, tt.want, tt.after)
				}
			})
		})
	}
}

// A CPU model that fails for one register is tried without its feature, and the
// answer is remembered with it.
func TestModelWithoutAFeature(t *testing.T) {
	runs := fake(t, "lacks")
	o := Options{Device: device(t), HostArch: arch.X86_64, Timeout: patient.Timeout, Dir: t.TempDir()}
	for i := range 2 {
		got, err := Probe(t.Context(), arch.X86_64, os.Args[0], o)
		if err != nil || got.Name != KVM || !slices.Equal(got.Lacks, []string{"arch-capabilities"}) || got.Remembered != (i == 1) {
			t.Errorf("probe %d = %+v, %v", i, got, err)
		}
	}
	if all := runs(); len(all) != 2 || !strings.Contains(all[1], "-cpu host,arch-capabilities=off ") {
		t.Errorf("runs = %q", all)
	}
}

func TestProbeWithoutARun(t *testing.T) {
	runs := fake(t, "runs")
	missing := filepath.Join(t.TempDir(), "kvm")
	for _, tt := range []struct {
		name   string
		arch   arch.Arch
		o      Options
		reason string
	}{
		{"foreign", arch.AArch64, Options{HostArch: arch.X86_64, Device: device(t)}, "this x86_64 host has to emulate aarch64"},
		{"no device", arch.X86_64, Options{HostArch: arch.X86_64, Device: missing}, "KVM cannot be used: open " + missing + ": no such file or directory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Probe(t.Context(), tt.arch, os.Args[0], tt.o)
			if diff := cmp.Diff(Accel{Name: TCG, Reason: tt.reason}, got); err != nil || diff != "" {
				t.Errorf("probe = %+v, %v", got, err)
			}
		})
	}
	if n := len(runs()); n != 0 {
		t.Errorf("%d guests were run", n)
	}
}

func TestProbeErrors(t *testing.T) {
	fake(t, "runs")
	o := Options{HostArch: arch.X86_64, Device: device(t)}
	if _, err := Probe(t.Context(), "riscv64", os.Args[0], o); err == nil {
		t.Error("riscv64 was accepted")
	}
	if _, err := Probe(t.Context(), arch.X86_64, "/no/such/qemu", o); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("err = %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Probe(ctx, arch.X86_64, os.Args[0], o); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
	o.Timeout = -1
	if _, err := Probe(t.Context(), arch.X86_64, os.Args[0], o); err == nil {
		t.Error("a negative time-out was accepted")
	}
}

// What can be wrong with a remembered answer: all of it means asking again.
func TestRecallTrustsNothing(t *testing.T) {
	id := identity{Boot: "this", Arch: arch.X86_64}
	name, err := id.file()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, content string }{
		{"empty", ""},
		{"torn", `{"boot": "this", "ac`},
		{"another boot", `{"boot": "last", "arch": "x86_64", "accel": "kvm", "reason": "x"}`},
		{"odd accelerator", `{"boot": "this", "arch": "x86_64", "accel": "xen", "reason": "x"}`},
		{"no reason", `{"boot": "this", "arch": "x86_64", "accel": "kvm"}`},
		{"endless", strings.Repeat(" ", 70<<10) + `{"boot": "this", "arch": "x86_64", "accel": "kvm", "reason": "x"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, name), []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if a, ok := recall(dir, id); ok {
				t.Errorf("recalled %+v", a)
			}
		})
	}
}

func TestRememberForgetsOtherBoots(t *testing.T) {
	dir := t.TempDir()
	answer := Accel{Name: KVM, Reason: "x", Proven: true}
	old, now := identity{Boot: "old"}, identity{Boot: "now"}
	for _, id := range []identity{old, now} {
		if err := remember(dir, id, answer); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok := recall(dir, old); ok {
		t.Error("the old boot's answer is still there")
	}
	answer.Remembered = true
	if got, ok := recall(dir, now); !ok || !cmp.Equal(got, answer) {
		t.Errorf("recall = %+v, %v", got, ok)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 {
		t.Errorf("files = %v, %v", files, err)
	}
}

func TestUnwritableMemoryIsNoError(t *testing.T) {
	fake(t, "runs")
	got, err := Probe(t.Context(), arch.X86_64, os.Args[0], Options{
		HostArch: arch.X86_64, Device: device(t), Dir: "/dev/null/dir", Timeout: patient.Timeout,
	})
	if err != nil || got.Name != KVM || !strings.Contains(got.Reason, "not remembered") {
		t.Errorf("probe = %+v, %v", got, err)
	}
}

func lookQEMU(t *testing.T, a arch.Arch) string {
	t.Helper()
	path, err := exec.LookPath(a.Facts().QEMU)
	if err != nil {
		t.Skip(a.Facts().QEMU + " is not installed")
	}
	return path
}

// The test guests themselves, under the accelerator that is always there:
// they come to their end, and they tell a run from none.
func TestGuestsRunUnderTCG(t *testing.T) {
	for _, a := range arch.All() {
		t.Run(string(a), func(t *testing.T) {
			path := lookQEMU(t, a)
			if err := Prove(t.Context(), a, path, TCG, "", patient.Timeout); err != nil {
				t.Error(err)
			}
			if err := Prove(t.Context(), a, path, "no-such", "", patient.Timeout); !errors.Is(err, ErrNoRun) {
				t.Errorf("under an accelerator that does not exist: %v", err)
			}
			if err := Prove(t.Context(), a, path, TCG, "no-such", patient.Timeout); !errors.Is(err, ErrNoRun) {
				t.Errorf("on a CPU that does not exist: %v", err)
			}
		})
	}
}

// Whatever /dev/kvm is like here, the probe ends, has an answer, and leaves no
// QEMU: the goroutine that waits for one would fail the package.
func TestProbeOfThisHost(t *testing.T) {
	for _, tt := range []struct {
		arch arch.Arch
		cpu  string
	}{{arch.X86_64, ""}, {arch.X86_64, "qemu64"}, {arch.AArch64, ""}} {
		t.Run(string(tt.arch)+" "+tt.cpu, func(t *testing.T) {
			got, err := Probe(t.Context(), tt.arch, lookQEMU(t, tt.arch), Options{CPU: tt.cpu})
			if err != nil || got.Name != KVM && got.Name != TCG || got.Proven != (got.Name == KVM) {
				t.Errorf("probe = %+v, %v", got, err)
			}
			t.Logf("%s: %s", got.Name, got.Reason)
		})
	}
}
