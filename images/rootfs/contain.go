package rootfs

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/unwedge/unwedge/images/progress"
	"github.com/unwedge/unwedge/scenarios/arch"
)

//go:embed chroot.sh
var chrootScript string

// debianPackage is where Debian keeps the programs that are run here.
var debianPackage = map[string]string{
	"mmdebstrap": "mmdebstrap", "unshare": "util-linux", "mke2fs": "e2fsprogs",
}

// need reports the first program that is not installed, and its package.
func need(programs ...string) error {
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			return fmt.Errorf("%s is not installed: install the package %s", p, debianPackage[p])
		}
	}
	return nil
}

// contained runs a program. As root it runs in mount and PID namespaces of its
// own, so that with the program, with this process or with ctx everything ends
// that was mounted and started, SIGKILL included.
func contained(ctx context.Context, task progress.Task, name string, args ...string) error {
	return containedEnv(ctx, task, nil, name, args...)
}

func containedEnv(ctx context.Context, task progress.Task, env []string, name string, args ...string) error {
	program := name
	if os.Geteuid() == 0 {
		if err := need("unshare"); err != nil {
			return err
		}
		args = append([]string{
			"--mount", "--propagation=private", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", "--", name,
		}, args...)
		name = "unshare"
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.Env = append(cmd.Env, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = 5 * time.Second
	log := &logTail{task: task}
	cmd.Stdout, cmd.Stderr = log, log
	// Pdeathsig is sent when the thread that started the child ends
	// (prctl(2)), so this goroutine keeps its thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := cmd.Run()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("run %s: %w", program, context.Cause(ctx))
	}
	if why := log.reason(); why != "" {
		return fmt.Errorf("run %s: %w: %s", program, err, why)
	}
	return fmt.Errorf("run %s: %w", program, err)
}

// chroot runs a verb of chroot.sh on the tree of an architecture.
func chroot(ctx context.Context, task progress.Task, a arch.Arch, verb, tree string, args ...string) error {
	env, err := emulation(a)
	if err != nil {
		return err
	}
	all := append([]string{"-c", chrootScript, "chroot.sh", verb, tree}, args...)
	if err := containedEnv(ctx, task, env, "sh", all...); err != nil {
		return fmt.Errorf("%s in the %s root: %w", verb, a, err)
	}
	return nil
}

// emulation returns the environment that lets chroot.sh run programs of a
// foreign architecture: the emulator and its binfmt_misc registration
// (Documentation/admin-guide/binfmt-misc.rst).
func emulation(a arch.Arch) ([]string, error) {
	if a.Facts().GOARCH == runtime.GOARCH {
		return nil, nil
	}
	user := a.Facts().User
	for _, name := range []string{user + "-static", user} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		if path, err = filepath.Abs(path); err != nil {
			return nil, err
		}
		return []string{"EMULATOR=" + path, "REGISTRATION=" + registration(a, path)}, nil
	}
	return nil, fmt.Errorf("%s-static is not installed: install the package qemu-user-static", user)
}

// registration matches little-endian 64-bit ELF programs of the architecture,
// of any OS ABI, executable or position independent. Flag F opens the emulator
// now, so that it need not be in the chroot.
func registration(a arch.Arch, emulator string) string {
	magic := []byte{0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0}
	magic = binary.LittleEndian.AppendUint16(magic, a.Facts().ELF)
	mask := bytes.Repeat([]byte{0xff}, len(magic))
	mask[7] = 0     // EI_OSABI
	mask[16] = 0xfe // e_type: 2 is an executable, 3 is position independent
	var b strings.Builder
	fmt.Fprintf(&b, ":unwedge-%s:M::", a)
	for _, part := range [][]byte{magic, mask} {
		for _, c := range part {
			fmt.Fprintf(&b, `\x%02x`, c)
		}
		b.WriteByte(':')
	}
	fmt.Fprintf(&b, "%s:F", emulator)
	return b.String()
}

// logTail shows each line of a program's output as progress and keeps the last
// few for the error.
type logTail struct {
	task    progress.Task
	partial []byte
	lines   []string
}

const (
	tailLines = 20
	tailWidth = 400 // bytes kept of one line
)

func (l *logTail) Write(p []byte) (int, error) {
	for _, c := range p {
		if c == '\n' || c == '\r' {
			l.flush()
		} else if len(l.partial) < tailWidth {
			l.partial = append(l.partial, c)
		}
	}
	return len(p), nil
}

func (l *logTail) flush() {
	line := strings.TrimSpace(strings.ToValidUTF8(string(l.partial), "?"))
	l.partial = l.partial[:0]
	if line == "" {
		return
	}
	l.task.Note(line)
	l.lines = append(l.lines, line)
	if len(l.lines) > tailLines {
		l.lines = slices.Delete(l.lines, 0, 1)
	}
}

// reason is the line that most likely says what went wrong: the first error of
// the kept ones, else the last line.
func (l *logTail) reason() string {
	l.flush()
	for _, line := range l.lines {
		if strings.HasPrefix(line, "E:") || strings.Contains(line, "FATAL") || strings.Contains(line, "dracut: Cannot") {
			return line
		}
	}
	if len(l.lines) == 0 {
		return ""
	}
	return l.lines[len(l.lines)-1]
}

var _ io.Writer = (*logTail)(nil)

// errEmpty is returned for an empty result of a program that claimed success.
var errEmpty = errors.New("the result is empty")

// fileWithData checks that a built file exists and is not empty.
func fileWithData(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Size() == 0 {
		return fmt.Errorf("%s: %w", filepath.Base(path), errEmpty)
	}
	return nil
}
