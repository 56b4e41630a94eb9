// Package child runs programs that end with this one, and with all that they have
// started: one that is left would hold a lock, or write into a directory, which the
// next run of this program uses.
package child

import (
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// patience is how long a program may take to end once it was told to.
const patience = 5 * time.Second

// Run runs a command that was made by exec.CommandContext, as its Run does. The
// command gets a session of its own, so that it finds no terminal to ask on. It is
// told to end by SIGTERM, so that it can remove its locks: with the whole session
// when the context ends, and alone when this program does, however that ends.
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
