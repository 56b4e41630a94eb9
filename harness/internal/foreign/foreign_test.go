package foreign_test

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/unwedge/unwedge/harness/internal/foreign"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// victim is the variable in which a process that is to be killed finds its socket.
const victim = "UNWEDGE_TEST_VICTIM"

func TestMain(m *testing.M) {
	if socket := os.Getenv(victim); socket != "" {
		standStill(socket)
	}
	goleak.VerifyTestMain(m)
}

// standStill has a guest stand still for ever.
func standStill(socket string) {
	g, err := foreign.Open(context.Background(), socket, foreign.Options{})
	if err == nil {
		_, err = g.Still(context.Background(), time.Hour, func(context.Context) error { select {} })
	}
	panic(err)
}

func open(t *testing.T, q *fakeQEMU) *foreign.Guest {
	t.Helper()
	g, err := foreign.Open(t.Context(), q.socket, foreign.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	return g
}

func TestMemoryIsFound(t *testing.T) {
	q := startFake(t)
	g := open(t, q)
	if g.PID != os.Getpid() || g.Arch != arch.AArch64 {
		t.Errorf("pid %d, %s", g.PID, g.Arch)
	}
	ram, err := g.Memory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if rs := ram.Ranges(); len(rs) != 1 || rs[0].Phys != q.base || rs[0].Size != uint64(len(q.ram)) {
		t.Errorf("%+v", rs)
	}
	got := make([]byte, 21)
	if err := ram.ReadPhys(q.base+0x3000, got); err != nil || string(got) != "the guest's own words" {
		t.Errorf("%q, %v", got, err)
	}
	if commands, status := q.done(); len(commands) != 0 || status != foreign.Running {
		t.Errorf("the guest is %s after %q", status, commands)
	}
}

// A monitor may lie, and the guest's memory is not that of the process then.
func TestMemoryOfALiar(t *testing.T) {
	for name, tt := range map[string]struct{ command, line, answer, want string }{
		"elsewhere":     {"human-monitor-command", "gpa2hva", returns("Host virtual address for 0x40000000 (x) is 0x1000\r\n"), "has no"},
		"other words":   {"human-monitor-command", "xp", returns("0000000040003000: 0x0123456789abcdef\r\n"), "not the guest's"},
		"no words":      {"human-monitor-command", "xp", returns("Cannot access memory\r\n"), "Cannot access memory"},
		"no RAM":        {"human-monitor-command", "info", returns("FlatView #0\n AS \"memory\"\n"), "shows no RAM"},
		"no gpa2hva":    {"human-monitor-command", "gpa2hva", returns("unknown command: 'gpa2hva'\r\n"), "unknown command"},
		"a whole world": {"human-monitor-command", "info", returns("FlatView #0\n AS \"memory\"\n  0000000000000000-ffffffffffffffff (prio 0, ram): x\n"), "shows no RAM"},
		"refused":       {"human-monitor-command", "info", `"error": {"class": "GenericError", "desc": "no HMP"}`, "no HMP"},
	} {
		t.Run(name, func(t *testing.T) {
			q := startFake(t)
			q.lie = func(command, line string) string {
				if command == tt.command && strings.HasPrefix(line, tt.line) {
					return tt.answer
				}
				return ""
			}
			ram, err := open(t, q).Memory(t.Context())
			if ram != nil || err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v", err)
			}
		})
	}
}

var errOurs = errors.New("ours")

func TestStill(t *testing.T) {
	for name, tt := range map[string]struct {
		before string
		do     func(q *fakeQEMU, cancel func()) error
		done   string // what was done to the guest
		after  string // how it is
		err    error
	}{
		"ran":              {"running", func(*fakeQEMU, func()) error { return nil }, "stop cont", "running", nil},
		"failed":           {"running", func(*fakeQEMU, func()) error { return errOurs }, "stop cont", "running", errOurs},
		"interrupted":      {"running", func(_ *fakeQEMU, cancel func()) error { cancel(); return context.Canceled }, "stop cont", "running", context.Canceled},
		"paused":           {"paused", func(*fakeQEMU, func()) error { return nil }, "", "paused", nil},
		"never started":    {"prelaunch", func(*fakeQEMU, func()) error { return errOurs }, "", "prelaunch", errOurs},
		"panicked":         {"guest-panicked", func(*fakeQEMU, func()) error { return nil }, "", "guest-panicked", nil},
		"resumed by other": {"running", func(q *fakeQEMU, _ func()) error { q.set("running"); return nil }, "stop", "running", nil},
		"ended meanwhile":  {"running", func(q *fakeQEMU, _ func()) error { q.set("shutdown"); return nil }, "stop", "shutdown", nil},
	} {
		t.Run(name, func(t *testing.T) {
			q := startFake(t)
			q.status = tt.before
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			s, err := open(t, q).Still(ctx, time.Minute, func(context.Context) error { return tt.do(q, cancel) })
			if !errors.Is(err, tt.err) || tt.err == nil && err != nil {
				t.Errorf("error %v, want %v", err, tt.err)
			}
			commands, status := q.done()
			if got := strings.Join(commands, " "); got != tt.done || status != tt.after {
				t.Errorf("%s, and it is %s; want %s, %s", got, status, tt.done, tt.after)
			}
			if s.Before != tt.before || (s.For > 0) != (tt.before == foreign.Running) {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestStillIsBounded(t *testing.T) {
	q := startFake(t)
	_, err := open(t, q).Still(t.Context(), time.Millisecond, func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) })
	if err == nil || !strings.Contains(err.Error(), "while the guest stood still") {
		t.Errorf("%v", err)
	}
	if _, status := q.done(); status != foreign.Running {
		t.Errorf("the guest is %s", status)
	}
}

// A connection that is lost while the guest stands still is made anew.
func TestStillWithALostConnection(t *testing.T) {
	q := startFake(t)
	var closed atomic.Bool
	q.lie = func(command, _ string) string {
		if _, status := q.done(); command == "query-status" && status == foreign.Paused && closed.CompareAndSwap(false, true) {
			return "close"
		}
		return ""
	}
	if _, err := open(t, q).Still(t.Context(), time.Minute, func(context.Context) error { return nil }); err != nil {
		t.Error(err)
	}
	if commands, status := q.done(); status != foreign.Running || !slices.Equal(commands, []string{"stop", "cont"}) {
		t.Errorf("%q: the guest is %s", commands, status)
	}
}

// A QEMU that refuses to let the guest go on is told of.
func TestStillWithoutAnEnd(t *testing.T) {
	q := startFake(t)
	q.lie = func(command, _ string) string {
		if command == "cont" {
			return `"error": {"class": "GenericError", "desc": "Resetting the Virtual Machine is required"}`
		}
		return ""
	}
	_, err := open(t, q).Still(t.Context(), time.Minute, func(context.Context) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "may still be stopped") {
		t.Errorf("%v", err)
	}
}

// A guest whose reader is killed goes on.
func TestKilledWhileItStandsStill(t *testing.T) {
	q := startFake(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), victim+"="+q.socket)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if c := <-q.got; c != "stop" {
		t.Errorf("first %s", c)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait() // it was killed
	if c := <-q.got; c != "cont" {
		t.Errorf("then %s", c)
	}
}

// listen has a peer that says something, or nothing, to who connects.
func listen(t *testing.T, words string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "peer")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			_, _ = conn.Write([]byte(words))
		}
	}()
	t.Cleanup(func() { l.Close(); <-served })
	return path
}

func TestWrongSockets(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	dead := filepath.Join(dir, "dead")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	for _, tt := range []struct{ name, path, want string }{
		{"nothing", filepath.Join(dir, "no"), "no such socket"},
		{"a file", file, "not a socket"},
		{"a folder", dir, "not a socket"},
		{"nobody listens", dead, "its QEMU has ended"},
		{"silence", listen(t, ""), "serves one client at a time"},
		{"people's monitor", listen(t, "QEMU 7.2.22 monitor - type 'help' for more information\r\n(qemu) \r\n"), "a monitor for people"},
		{"something else", listen(t, "220 mail.example.org ESMTP\r\n"), "not QEMU's QMP"},
		{"a gdb stub", listen(t, "+$W00#b7\n"), "not QEMU's QMP"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g, err := foreign.Open(t.Context(), tt.path, foreign.Options{Greeting: 300 * time.Millisecond})
			if g != nil || err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), tt.path) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestNoPermission: the socket, or the folder that it is in, is somebody else's.
func TestNoPermission(t *testing.T) {
	if os.Geteuid() == 0 { // the checks of this thread's accesses to files are those of nobody
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := syscall.Setfsuid(65534); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = syscall.Setfsuid(0) }()
	}
	dir, err := os.MkdirTemp("", "unwedge")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "qmp")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, tt := range []struct {
		name, path string
		mode       os.FileMode
	}{{"the socket", path, 0}, {"the folder", dir, 0}} {
		if err := os.Chmod(tt.path, tt.mode); err != nil {
			t.Fatal(err)
		}
		g, err := foreign.Open(t.Context(), path, foreign.Options{Greeting: 300 * time.Millisecond})
		if want := path + ": permission denied: run as the user of QEMU, or as root"; g != nil || err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", tt.name, err, want)
		}
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
}

func TestOtherArchitecture(t *testing.T) {
	q := startFake(t)
	q.lie = func(command, _ string) string {
		if command == "query-cpus-fast" {
			return returns([]map[string]any{{"cpu-index": 0, "thread-id": 1, "target": "riscv64"}})
		}
		return ""
	}
	if _, err := foreign.Open(t.Context(), q.socket, foreign.Options{}); err == nil || !strings.Contains(err.Error(), "the guest is riscv64") {
		t.Errorf("%v", err)
	}
}
