package kbuild

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/unwedge/unwedge/images/kbuild/toolchain"
	"github.com/unwedge/unwedge/images/progress"
)

// lockName is a file in Output; whoever builds there holds its lock. make and its
// children inherit it, so that what survives of a build whose unwedge was killed keeps
// the next one out until it ends.
const lockName = ".unwedge-lock"

// maker runs make for one Spec.
type maker struct {
	spec  Spec
	tools toolchain.Tools
	lock  *os.File
	log   *os.File
	// pahole is the one that the build runs, "" where there is none.
	pahole string
	// flags are the compiler's and the assembler's: see placeless.
	flags string
}

// open makes the output directory, locks it and begins the log.
func (s Spec) open(ctx context.Context) (_ *maker, err error) {
	m := &maker{spec: s}
	if m.tools, err = s.Tools(); err != nil {
		var missing *toolchain.MissingError
		if errors.As(err, &missing) {
			return nil, &HostError{Kind: ErrToolchain, Step: "configure", Line: missing.Tool + " is not installed", Advice: asCommand(missing.Command)}
		}
		return nil, err
	}
	if err := os.MkdirAll(s.Output, 0o755); err != nil {
		return nil, hostFault("configure", err)
	}
	defer func() {
		if err != nil {
			m.close()
		}
	}()
	if m.lock, err = os.OpenFile(filepath.Join(s.Output, lockName), os.O_CREATE|os.O_RDWR, 0o644); err != nil {
		return nil, hostFault("configure", err)
	}
	if err := waitLock(ctx, m.lock, s.Output); err != nil {
		return nil, err
	}
	if m.log, err = os.Create(filepath.Join(s.Output, LogName)); err != nil {
		return nil, hostFault("configure", err)
	}
	if m.pahole, err = steadyPahole(s.Output); err != nil {
		return nil, hostFault("configure", err)
	}
	m.flags = strings.Join(placeless(m.tools, s.Source, s.Output), " ")
	return m, nil
}

// waitLock takes the lock, waiting for another build in the same directory.
func waitLock(ctx context.Context, f *os.File, dir string) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if !errors.Is(err, unix.EWOULDBLOCK) {
		return err
	}
	task := progress.From(ctx).Task("wait for another build in "+dir, 0)
	defer func() { task.Done(err) }()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			err = context.Cause(ctx)
			return err
		case <-tick.C:
			err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
			if !errors.Is(err, unix.EWOULDBLOCK) {
				return err
			}
		}
	}
}

func (m *maker) close() {
	for _, f := range []*os.File{m.log, m.lock} {
		if f != nil {
			f.Close() // the log's writes were checked
		}
	}
}

// args are make's, for some targets.
func (m *maker) args(targets []string) []string {
	s := m.spec
	args := []string{"-C", s.Source, "O=" + s.Output, fmt.Sprintf("-j%d", s.Jobs)}
	args = append(args, m.tools.MakeArgs()...)
	args = append(args,
		"KBUILD_BUILD_TIMESTAMP="+buildTimestamp, "KBUILD_BUILD_VERSION="+buildVersion,
		"KBUILD_BUILD_USER="+buildUser, "KBUILD_BUILD_HOST="+buildHost,
		"LOCALVERSION=", // no "+" and no commit in the release
		"KCFLAGS="+m.flags, "KAFLAGS="+m.flags)
	if m.pahole != "" {
		args = append(args, "PAHOLE="+m.pahole)
	}
	return append(args, targets...)
}

// building is the step that makes the kernel.
const building = "build"

// run makes some targets. What is printed goes to the log and is looked through for
// what went wrong.
func (m *maker) run(ctx context.Context, step string, targets ...string) error {
	name := fmt.Sprintf("%s kernel for %s", step, m.spec.Arch)
	if step == "configure" {
		name += ": " + strings.Join(targets, " ")
	}
	task := progress.From(ctx).Task(name, 0)
	known := readCounts(m.spec.StepCounts)
	p := pace{started: time.Now()}
	fresh := step == building && m.spec.fresh()
	if fresh {
		p.total = known[m.spec.kind()]
	}
	scan := newScanner(task, p)
	log := &keeper{w: m.log}
	out := []io.Writer{log, scan}
	if m.spec.Log != nil {
		out = append(out, &keeper{w: m.spec.Log})
	}
	cmd := exec.Command("make", m.args(targets)...) //nolint:noctx // the group is stopped below
	cmd.Env = m.environ()
	cmd.ExtraFiles = []*os.File{m.lock}
	w := io.MultiWriter(out...)
	cmd.Stdout, cmd.Stderr = w, w // one writer: os/exec then uses one pipe
	err := runGroup(ctx, cmd, m.spec.Yield)
	switch {
	case err != nil && ctx.Err() != nil:
		err = context.Cause(ctx)
	case log.err != nil:
		err = hostFault(step, log.err)
	case err != nil:
		err = m.judge(step, scan, err)
	case fresh:
		known.keep(m.spec.StepCounts, m.spec.kind(), scan.files)
	}
	task.Done(err)
	return err
}

// keeper takes everything, and keeps the error of a writer that did not: were make's
// output no longer read, make would fail for a reason of its own.
type keeper struct {
	w   io.Writer
	err error
}

func (k *keeper) Write(p []byte) (int, error) {
	if k.err == nil {
		_, k.err = k.w.Write(p)
	}
	return len(p), nil
}

// lowest is the nice value of a build that yields.
const lowest = 19

// step has a process group step back until yield is closed, or the group is over.
// A build that cannot be made to yield, or to come forward again, goes on as it is.
func step(group int, yield, over <-chan struct{}) {
	nice, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0)
	if err != nil || syscall.Setpriority(syscall.PRIO_PGRP, group, lowest) != nil {
		return
	}
	select {
	case <-yield:
		_ = syscall.Setpriority(syscall.PRIO_PGRP, group, 20-nice) // the system call counts from 20 down
	case <-over:
	}
}

// grace is how long a build that is to end may take to remove what it has written
// half; then it is killed.
const grace = 30 * time.Second

// runGroup runs a command in a process group of its own, which ends as a whole when
// the context does, or the program that started it. make and the compilers are asked
// to end: they take half-written files away, which the next build would take for
// whole ones, as they are newer than their source.
func runGroup(ctx context.Context, cmd *exec.Cmd, yield <-chan struct{}) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = 5 * time.Second
	// Pdeathsig is sent when the thread that started the child ends
	// (prctl(2)), so this goroutine keeps its thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	over := make(chan struct{})
	defer close(over)
	if yield != nil {
		go step(cmd.Process.Pid, yield, over)
	}
	stop := context.AfterFunc(ctx, func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) // gone already is as good
		select {
		case <-over:
		case <-time.After(grace):
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		}
	})
	defer stop()
	err := cmd.Wait()
	if ctx.Err() != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what did not end with make
	}
	if errors.Is(err, exec.ErrWaitDelay) { // a daemon of ccache's may keep the output open
		return nil
	}
	return err
}

// environ is what make runs in.
func (m *maker) environ() []string {
	env := environ(os.Environ())
	if m.tools.Ccache {
		// Another directory is no other compilation: sources are named by their way
		// from the output, and what debug information says of the directory either is
		// mapped (prefixMaps) or does not get into the kernel (arch/x86/realmode/rm).
		env = append(env, "CCACHE_BASEDIR="+physical(m.spec.Source), "CCACHE_NOHASHDIR=1")
	}
	return env
}

// environ leaves out what would change a kernel build: the variables of a make
// that runs this program, and a developer's own settings.
func environ(env []string) []string {
	keep := []string{"LC_ALL=C", "LANG=C"}
	for _, kv := range env {
		k, _, _ := strings.Cut(kv, "=")
		switch {
		case strings.HasPrefix(k, "MAKE"), strings.HasPrefix(k, "MFLAGS"), strings.HasPrefix(k, "KBUILD_"), strings.HasPrefix(k, "KCONFIG_"),
			strings.HasPrefix(k, "LC_"), strings.HasPrefix(k, "GIT_"), strings.HasPrefix(k, "INSTALL_"):
		case k == "ARCH", k == "SUBARCH", k == "CROSS_COMPILE", k == "KCFLAGS", k == "KAFLAGS", k == "KCPPFLAGS", k == "O", k == "M", k == "V", k == "W", k == "C",
			k == "CC", k == "LD", k == "LLVM", k == "LLVM_IAS", k == "HOSTCC", k == "HOSTCFLAGS", k == "GNUMAKEFLAGS", k == "LOCALVERSION", k == "LANG", k == "LANGUAGE":
		default:
			keep = append(keep, kv)
		}
	}
	return keep
}
