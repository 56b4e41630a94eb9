package watch

import (
	"strings"
	"testing"
	"time"

	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/scenarios"
)

func TestGoals(t *testing.T) {
	for _, tc := range []struct {
		sign scenarios.Sign
		line string
		want bool
	}{
		{scenarios.Sign{Kind: scenarios.ByInit}, "[    1.234567] Run /init as init process", true},
		{scenarios.Sign{Kind: scenarios.ByInit}, "[    1.234567][    T1] Run /sbin/init as init process", true},
		{scenarios.Sign{Kind: scenarios.ByInit}, "they Run /init as init process", false},
		{scenarios.Sign{Kind: scenarios.ByConsole, Value: "^all .* passed$"}, "all 12 tests passed", true},
		{scenarios.Sign{Kind: scenarios.ByConsole, Value: "^all .* passed$"}, "not all 12 tests passed", false},
		{scenarios.Sign{Kind: scenarios.ByLogin}, "demo login: ", true},
		{scenarios.Sign{Kind: scenarios.ByLogin}, "\x1b[0mdemo login: ", true},
		{scenarios.Sign{Kind: scenarios.ByLogin}, "Last login: Mon Nov 30", false},
		{scenarios.Sign{Kind: scenarios.BySystemd, Value: "multi-user.target"}, "[  OK  ] Reached target \x1b[0;1;39mmulti-user.target\x1b[0m - Multi-User System.", true},
		{scenarios.Sign{Kind: scenarios.BySystemd, Value: "multi-user.target"}, "[  OK  ] Reached target Multi-User System.", true},
		{scenarios.Sign{Kind: scenarios.BySystemd, Value: "multi-user.target"}, "systemd[1]: Reached target multi-user.target.", true},
		{scenarios.Sign{Kind: scenarios.BySystemd, Value: "multi-user.target"}, "[  OK  ] Stopped target multi-user.target", false},
		{scenarios.Sign{Kind: scenarios.BySystemd, Value: "ssh.service"}, "[  OK  ] Started ssh.service - OpenBSD Secure Shell server.", true},
		{scenarios.Sign{Kind: scenarios.BySystemd, Value: "ssh.service"}, "[  OK  ] Started ssh.service2", false},
	} {
		start := time.Unix(0, 0)
		tr := New(Scale(result.Reference{Unit: time.Second}), Toward(tc.sign), start)
		tr.Partial(start.Add(time.Second), []byte(tc.line))
		d := tr.Decide(start.Add(4 * time.Second))
		if got := d.State == Over && d.Outcome == scenarios.Booted; got != tc.want {
			t.Errorf("%s, %q: %v (%+v)", tc.sign, tc.line, got, d)
		}
		if tc.want && (d.Why == "" || strings.ContainsAny(d.Why, "\x1b\n")) {
			t.Errorf("%s: why %q", tc.sign, d.Why)
		}
	}
}

// What the kernel says at once after it ran init counts more: a panic, a power-off.
func TestAPanicAtOnceIsNoBoot(t *testing.T) {
	start := time.Unix(0, 0)
	tr := New(Scale(result.Reference{Unit: time.Second}), Toward(scenarios.Sign{Kind: scenarios.ByInit}), start)
	at := start.Add(time.Second)
	tr.Line(at, []byte("[    1.000000] Run /init as init process"))
	if d := tr.Decide(at); d.State != Running {
		t.Fatalf("before it has settled: %+v", d)
	}
	tr.Line(at.Add(10*time.Millisecond), []byte("[    1.010000] Kernel panic - not syncing: No working init found."))
	if d := tr.Decide(at.Add(5 * time.Second)); d.Outcome != scenarios.Panicked {
		t.Errorf("%+v", d)
	}
}

// What the harness makes the guest print shows no boot.
func TestTheAnswerToSysrqIsNoSign(t *testing.T) {
	start := time.Unix(0, 0)
	tr := New(Scale(result.Reference{Unit: time.Second}), Toward(scenarios.Sign{Kind: scenarios.ByConsole, Value: "sshd"}), start)
	tr.Capturing(true)
	tr.Line(start.Add(time.Second), []byte("[    1.000000] task:sshd state:S"))
	if d := tr.Decide(start.Add(3 * time.Second)); d.State == Over {
		t.Errorf("%+v", d)
	}
}

// Firmware and boot loaders are silent for long, and poll their devices.
func TestFirmwareIsGivenTime(t *testing.T) {
	start := time.Unix(0, 0)
	limits := Scale(result.Reference{Unit: time.Second})
	tr := New(limits, Toward(scenarios.Sign{Kind: scenarios.ByLogin}), start)
	tr.Firmware(true)
	tr.Line(start, []byte("BdsDxe: starting Boot0001"))
	tr.VCPUs(start.Add(limits.Busy), []float64{1})
	if d := tr.Decide(start.Add(limits.Busy + time.Second)); d.State != Running {
		t.Errorf("%+v", d)
	}
	if d := tr.Decide(start.Add(2 * limits.Busy)); d.State != Suspect || !d.Firmware {
		t.Errorf("%+v", d)
	}
}
