package qemuram_test

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/unwedge/unwedge/harness/internal/qemuram"
)

const size = 1 << 20

// memory makes a file as the harness does for a guest.
func memory(t *testing.T, name string, size int64) *os.File {
	t.Helper()
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), name)
	t.Cleanup(func() { f.Close() })
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	return f
}

// qemu starts a process that stands for a QEMU with these files. It ends with its
// standard input.
func qemu(t *testing.T, files ...*os.File) (cmd *exec.Cmd, end func()) {
	t.Helper()
	cmd = exec.Command("cat", "-", "/dev/null")
	cmd.ExtraFiles = files
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skipf("no cat: %v", err)
	}
	// Its answer shows that it is cat by now, and not a copy of the test.
	if _, err := in.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	end = func() {
		in.Close()
		_ = cmd.Wait() // it may have been waited for
	}
	t.Cleanup(end)
	return cmd, end
}

var args = []string{"-", "/dev/null"}

func TestOpen(t *testing.T) {
	ram := memory(t, "unwedge-ram", size)
	if _, err := ram.WriteAt([]byte("hello"), 0x1234); err != nil {
		t.Fatal(err)
	}
	cmd, end := qemu(t, memory(t, "other", size), memory(t, "unwedge-ram", size/2), ram)
	f, err := qemuram.Open(cmd.Process.Pid, args, size)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 5)
	if _, err := f.ReadAt(b, 0x1234); err != nil || string(b) != "hello" {
		t.Errorf("read %q, %v", b, err)
	}
	if _, err := f.WriteAt(b, 0); err == nil {
		t.Error("the guest's memory can be written")
	}
	for name, other := range map[string][]string{"none": nil, "fewer": args[:1], "others": {"-", "/dev/zero"}, "more": append(args[:2:2], "x")} {
		if f, err := qemuram.Open(cmd.Process.Pid, other, size); !errors.Is(err, qemuram.ErrGone) || f != nil || !strings.Contains(err.Error(), "another one") {
			t.Errorf("%s arguments: %v", name, err)
		}
	}
	if f, err := qemuram.Open(cmd.Process.Pid, args, 2*size); err == nil || f != nil || errors.Is(err, qemuram.ErrGone) || !strings.Contains(err.Error(), "2 MiB") {
		t.Errorf("memory of another size: %v", err)
	}
	end()
	if f, err := qemuram.Open(cmd.Process.Pid, args, size); !errors.Is(err, qemuram.ErrGone) || f != nil {
		t.Errorf("a QEMU that has ended: %v", err)
	}
	// What was opened stays.
	if _, err := f.ReadAt(b, 0x1234); err != nil || string(b) != "hello" {
		t.Errorf("read %q, %v after the end", b, err)
	}
}

// A process that has ended and was not waited for has no files and no arguments.
func TestZombie(t *testing.T) {
	cmd := exec.Command("true")
	if err := cmd.Start(); err != nil {
		t.Skipf("no true: %v", err)
	}
	defer func() { _ = cmd.Wait() }()
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_PID, cmd.Process.Pid, &info, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	if f, err := qemuram.Open(cmd.Process.Pid, args, size); !errors.Is(err, qemuram.ErrGone) || f != nil {
		t.Errorf("error %v", err)
	}
}
