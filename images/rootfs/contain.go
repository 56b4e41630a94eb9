package rootfs

import (
	"context"
	_ "embed"
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

	"github.com/unwedge/unwedge/images/hostpkg"
	"github.com/unwedge/unwedge/images/progress"
)

//go:embed dracut.sh
var dracutScript string

// debianPackage is where Debian keeps the programs that are run here.
var debianPackage = map[string]string{"mount": "mount", "chroot": "coreutils", "cp": "coreutils", "sed": "sed", "mke2fs": "e2fsprogs"}

// need reports the first program that is not installed, and its package.
func need(programs ...string) error {
	for _, p := range programs {
		if _, err := hostpkg.LookPath(p); err != nil {
			return fmt.Errorf("%s is not installed: install the package %s", p, debianPackage[p])
		}
	}
	return nil
}

// ErrNoNamespaces says that this host does not let an ordinary user mount in namespaces
// of his own (user_namespaces(7)), in which dracut runs.
var ErrNoNamespaces = errors.New("this host does not give ordinary users namespaces to mount in: allow it" +
	" (sysctl kernel.apparmor_restrict_unprivileged_userns=0 or kernel.unprivileged_userns_clone=1, whichever there is), or run as root")

// Buildable says whether this host builds the distribution images for the user that runs
// the program: nil, or why not. It takes some milliseconds.
func Buildable(ctx context.Context) error {
	if err := need(scriptNeeds...); err != nil {
		return err
	}
	err := script(ctx, &logTail{task: nothing{}}, nil, "check")
	if err != nil && ctx.Err() == nil && os.Geteuid() != 0 {
		return fmt.Errorf("%w: %w", ErrNoNamespaces, err)
	}
	return err
}

// scriptNeeds are the programs that dracut.sh takes from this host.
var scriptNeeds = []string{"mount", "chroot", "cp", "sed"}

// script runs dracut.sh.
func script(ctx context.Context, log *logTail, env []string, args ...string) error {
	if err := need(scriptNeeds...); err != nil {
		return err
	}
	return contained(ctx, log, env, "sh", append([]string{"-c", dracutScript, "dracut.sh"}, args...)...)
}

// contained runs a program in mount and PID namespaces of its own, so that with the
// program, with this process or with ctx everything ends that was mounted and started,
// SIGKILL included. An ordinary user is root in a user namespace of his own there: what
// is his on the host is root's inside, and in an image that is made there.
func contained(ctx context.Context, log *logTail, env []string, name string, args ...string) error {
	if path, err := hostpkg.LookPath(name); err == nil {
		name = path
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = slices.Concat(os.Environ(), []string{"LC_ALL=C", "PATH=" + hostpkg.Path()}, env)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID}
	if uid, gid := os.Geteuid(), os.Getegid(); uid != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: gid, Size: 1}}
	}
	cmd.WaitDelay = 5 * time.Second
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
		return fmt.Errorf("run %s: %w", filepath.Base(name), context.Cause(ctx))
	}
	if why := log.reason(); why != "" {
		return fmt.Errorf("run %s: %w: %s", filepath.Base(name), err, why)
	}
	return fmt.Errorf("run %s: %w", filepath.Base(name), err)
}

// nothing shows nothing.
type nothing struct{}

func (nothing) Add(int64)   {}
func (nothing) Note(string) {}
func (nothing) Done(error)  {}

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
