package harness_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/unwedge/unwedge/harness"
	"github.com/unwedge/unwedge/harness/internal/machine"
	"github.com/unwedge/unwedge/harness/internal/qmp"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"
)

func TestKeep(t *testing.T) {
	t.Parallel()
	req := request(t, "hangs", &quick)
	req.Keep = true
	res, err := harness.Boot(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	k := res.Kept
	if k == nil {
		t.Fatal("a hung guest was not kept")
	}
	if pid, _ := fakePID(req.Dir); pid != k.PID || !alive(pid) {
		t.Fatalf("kept pid %d, QEMU's is %d, alive: %v", k.PID, pid, alive(pid))
	}
	if read, err := result.Read(filepath.Join(req.Dir, rundir.Result)); err != nil || read.Kept == nil || *read.Kept != *k {
		t.Errorf("result.json says %+v, %v", read.Kept, err)
	}
	// The monitor is there for a person, and the guest is paused.
	conn, err := qmp.Dial(t.Context(), k.QMP, qmp.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var st struct{ Status string }
	if err := conn.Execute(t.Context(), "query-status", nil, &st); err != nil || st.Status != "paused" {
		t.Errorf("status %q, %v, want paused", st.Status, err)
	}
	conn.Close()
	for path, want := range map[string]os.FileMode{k.Console + ".in": os.ModeNamedPipe, k.Console + ".out": os.ModeNamedPipe, k.GDB: os.ModeSocket} {
		if fi, err := os.Stat(path); err != nil || fi.Mode().Type() != want {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
	if err := syscall.Kill(k.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Dir(k.QMP)); err != nil {
		t.Error(err)
	}
}

// Only a hang is kept.
func TestKeepOfABootThatEnds(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"boots-console", "panics"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req := request(t, name, nil)
			req.Keep = true
			res, err := boot(t, req)
			if err != nil || res.Kept != nil {
				t.Errorf("kept %+v, %v", res, err)
			}
		})
	}
}

// A guest about which nobody could say how to get at it must not stay.
func TestKeepWithoutAResult(t *testing.T) {
	t.Parallel()
	req := request(t, "hangs", &quick)
	req.Keep = true
	if err := os.Mkdir(filepath.Join(req.Dir, rundir.Result), 0o755); err != nil {
		t.Fatal(err)
	}
	res, err := boot(t, req)
	if err != nil {
		t.Fatal(err)
	}
	if res.Kept != nil || !strings.Contains(strings.Join(res.Notes, "\n"), "write result: ") {
		t.Errorf("kept %+v, notes %q", res.Kept, res.Notes)
	}
}

// runHarness is what the test binary does as a harness that will be killed.
func runHarness(dir string) int {
	sc := scenarios.Scenario{
		Name: "random", Arch: arch.X86_64, Entropy: scenarios.None, Initramfs: scenarios.Tiny, Root: scenarios.NoRoot,
		MemoryMiB: 256, CPUs: 1, Cmdline: []string{"fake=waits-ready"},
	}
	_, err := harness.Boot(context.Background(), harness.Request{
		Machine: machine.Spec{QEMU: os.Args[0], Accel: result.TCG, Scenario: sc}, Dir: dir,
		Keep: os.Getenv("UNWEDGE_TEST_KEEP") != "", Reference: result.Reference{},
	})
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// The end of the fake's connection to the test is the end of the fake.
func TestNothingSurvivesAKilledHarness(t *testing.T) {
	t.Parallel()
	for _, keep := range []string{"", "yes"} {
		t.Run("keep="+keep, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), harnessEnv+"="+dir, "UNWEDGE_TEST_KEEP="+keep)
			l, err := net.Listen("unix", filepath.Join(dir, readySocket))
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			var stderr strings.Builder
			cmd.Stderr = &stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			conn, err := l.Accept() // the fake runs a guest
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, conn); err != nil && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("wait for QEMU's end: %v", err)
			}
			if err := cmd.Wait(); err == nil {
				t.Errorf("the harness was not killed: %s", stderr.String())
			}
		})
	}
}
