// Package child runs programs that end with this one, together with their children: a
// survivor would hold a lock, or write into a directory, that the next run needs.
package child

import (
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// patience is how long a program may take to end after SIGTERM.
const patience = 5 * time.Second

// Run runs a command that was made by exec.CommandContext, as its Run does. The
// command gets a session of its own, so that it has no terminal to ask on. It
// gets SIGTERM, so that it can remove its locks: the whole session when the context
// ends, and the command alone when this program ends, however that happens.
func Run(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGTERM}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = patience
	// Pdeathsig is sent when the thread that started the child ends (prctl(2)), so
	// this goroutine keeps its thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return cmd.Run()
}
