package child_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/unwedge/unwedge/images/internal/child"
)

// script waits for a child of its own, whose number it leaves in a file.
func script(file string) []string {
	return []string{"sh", "-c", "sleep 60 & echo $! > " + file + ".new && mv " + file + ".new " + file + "; wait"}
}

// alone is a program that leaves its own number and waits.
func alone(file string) []string {
	return []string{"sh", "-c", "echo $$ > " + file + ".new && mv " + file + ".new " + file + "; exec sleep 60"}
}

// started waits for the number that a script leaves.
func started(t *testing.T, file string) (pid int) {
	t.Helper()
	wait(t, "it to start", func() bool {
		b, err := os.ReadFile(file)
		pid, _ = strconv.Atoi(strings.TrimSpace(string(b)))
		return err == nil && pid > 0
	})
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) }) // it should be gone
	return pid
}

func gone(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err != nil || strings.Contains(string(b), ") Z ")
}

func wait(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Minute); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func TestRun(t *testing.T) {
	out := &strings.Builder{}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", "echo said; exit 3")
	cmd.Stdout = out
	var exit *exec.ExitError
	if err := child.Run(cmd); !errors.As(err, &exit) || exit.ExitCode() != 3 || out.String() != "said\n" {
		t.Errorf("%q, %v", out, err)
	}
}

// It ends with all that it has started when the context does.
func TestEndsWhole(t *testing.T) {
	file := filepath.Join(t.TempDir(), "started")
	ctx, cancel := context.WithCancel(t.Context())
	args := script(file)
	ended := make(chan error, 1)
	go func() { ended <- child.Run(exec.CommandContext(ctx, args[0], args[1:]...)) }()
	pid := started(t, file)
	cancel()
	if err := <-ended; err == nil {
		t.Error("no error")
	}
	wait(t, "its child to end", func() bool { return gone(pid) })
}

// It ends when the program that started it is killed.
func TestEndsWithProgram(t *testing.T) {
	if file := os.Getenv("CHILD_TEST_FILE"); file != "" {
		args := alone(file)
		_ = child.Run(exec.CommandContext(t.Context(), args[0], args[1:]...))
		return
	}
	file := filepath.Join(t.TempDir(), "started")
	program := exec.Command(os.Args[0], "-test.run=^TestEndsWithProgram$")
	program.Env = append(os.Environ(), "CHILD_TEST_FILE="+file)
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	pid := started(t, file)
	if err := program.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = program.Wait()
	wait(t, "it to end", func() bool { return gone(pid) })
}
