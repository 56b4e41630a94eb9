package qemu

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

// The fake QEMU is this test binary, started again with fakeEnv set.
const fakeEnv = "UNWEDGE_FAKE_QEMU"

func TestMain(m *testing.M) {
	mode := os.Getenv(fakeEnv)
	if mode == "" {
		goleak.VerifyTestMain(m)
		return
	}
	os.Exit(fakes[mode]())
}

// fakes are what a QEMU can do to us. File descriptor 3, where there is one,
// is the write end of the test's pipe: its end of file proves that every
// process that holds it is gone.
var fakes = map[string]func() int{
	"fails": func() int {
		fmt.Fprint(os.Stderr, "qemu: first\r\nqemu: \x1b[31mCould not access KVM kernel module")
		return 1
	},
	"succeeds": func() int { return 0 },
	"version": func() int {
		fmt.Println("QEMU emulator version 9.1.50 (v9.1.0-1234-gdeadbeef)")
		fmt.Println("Copyright")
		return 0
	},
	"floods": func() int {
		line := strings.Repeat("x", 999) + "\n"
		for range 5000 {
			os.Stderr.WriteString(line)
		}
		os.Stderr.WriteString("the end\n")
		return 3
	},
	"aborts": func() int {
		fmt.Fprintln(os.Stderr, "Assertion failed")
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	},
	"waits":        func() int { return serve() },
	"ignores TERM": func() int { signal.Ignore(syscall.SIGTERM); return serve() },
	"forks": func() int {
		// A grandchild that holds the pipe and stderr, in our group.
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), fakeEnv+"=ignores TERM")
		cmd.Stderr = os.Stderr
		cmd.ExtraFiles = []*os.File{os.NewFile(3, "pipe")}
		if err := cmd.Start(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		return 4
	},
	"parent":   func() int { return parent(false) },
	"detacher": func() int { return parent(true) },
}

// serve says that it runs, answers each line on its control connection
// (descriptor 4, where there is one), and stays until a signal ends it.
func serve() int {
	pipe := os.NewFile(3, "pipe")
	fmt.Fprintln(pipe, "ready")
	if control := os.NewFile(4, "control"); os.Getenv("UNWEDGE_FAKE_CONTROL") != "" {
		in := bufio.NewScanner(control)
		for in.Scan() {
			fmt.Fprintln(pipe, "pong")
		}
		return 0
	}
	select {} // the Go runtime is still there for signals
}

// parent is a harness: it starts a child through Start from a thread that
// ends at once, and stays.
func parent(detach bool) int {
	ended := make(chan int)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		c := Command{
			Path: os.Args[0], Env: append(os.Environ(), fakeEnv+"=waits", "UNWEDGE_FAKE_CONTROL=1"),
			ExtraFiles: []*os.File{os.NewFile(3, "pipe"), os.NewFile(4, "control")}, Detach: detach,
		}
		if _, err := Start(context.Background(), c); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		ended <- syscall.Gettid()
	}()
	task := fmt.Sprintf("/proc/self/task/%d", <-ended)
	for {
		if _, err := os.Stat(task); err != nil {
			break // the thread is gone, or the runtime keeps it, as it does the main one
		}
		if strings.HasSuffix(task, fmt.Sprintf("/%d", os.Getpid())) {
			break
		}
		runtime.Gosched()
	}
	fmt.Println("thread gone")
	io.Copy(io.Discard, os.Stdin)
	select {}
}
