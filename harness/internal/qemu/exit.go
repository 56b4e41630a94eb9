package qemu

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/unwedge/unwedge/harness/internal/console"
)

// Exit is how a child ended.
type Exit struct {
	// Program is its file name.
	Program string
	// Code is the exit status, -1 when it was ended by a signal.
	Code int
	// Signal ended it; 0 when it exited.
	Signal syscall.Signal
	// CoreDumped says that it left a core file.
	CoreDumped bool
	// User and System are the host CPU time it used.
	User, System time.Duration
	// Stderr are its last lines, raw.
	Stderr []string
}

func newExit(name string, s *os.ProcessState, stderr []string) Exit {
	e := Exit{Program: name, Code: -1, Stderr: stderr}
	if s == nil {
		return e
	}
	e.Code, e.User, e.System = s.ExitCode(), s.UserTime(), s.SystemTime()
	if status, ok := s.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		e.Signal, e.CoreDumped = status.Signal(), status.CoreDump()
	}
	return e
}

// Err is nil for status 0 and an *ExitError for all else.
func (e Exit) Err() error {
	if e.Code == 0 && e.Signal == 0 {
		return nil
	}
	return &ExitError{e}
}

// String says how the child ended: "exit status 1", "signal SIGABRT".
func (e Exit) String() string {
	switch {
	case e.Signal != 0 && e.CoreDumped:
		return "signal " + unix.SignalName(e.Signal) + " (core dumped)"
	case e.Signal != 0:
		return "signal " + unix.SignalName(e.Signal)
	default:
		return fmt.Sprintf("exit status %d", e.Code)
	}
}

// ExitError is a child that failed. Its text is one line, with the line of stderr
// that says why; "%+v" has all the lines there are. Both are safe for a terminal.
type ExitError struct{ Exit Exit }

// reason is the line that says why: the last that is neither a warning nor an
// assertion, which follows QEMU's own "error: ..." as it aborts. Else the last.
func (e Exit) reason() string {
	for _, line := range slices.Backward(e.Stderr) {
		if !strings.Contains(line, ": warning: ") && !strings.Contains(line, ": Assertion `") && strings.TrimSpace(line) != "" {
			return line
		}
	}
	return e.Stderr[len(e.Stderr)-1]
}

func (e *ExitError) Error() string {
	const width = 300
	text := e.Exit.Program + ": " + e.Exit.String()
	n := len(e.Exit.Stderr)
	if n == 0 {
		return text + ", nothing on stderr"
	}
	text += ": " + console.SanitizeMax(e.Exit.reason(), width)
	switch {
	case n == 2:
		text += " (1 more line)"
	case n > 2:
		text += fmt.Sprintf(" (%d more lines)", n-1)
	}
	return text
}

// Format implements fmt.Formatter for %+v.
func (e *ExitError) Format(s fmt.State, verb rune) {
	if verb != 'v' || !s.Flag('+') {
		fmt.Fprint(s, e.Error()) // fmt.State keeps no error
		return
	}
	_, _ = io.WriteString(s, e.Exit.Program+": "+e.Exit.String())
	for _, line := range e.Exit.Stderr {
		_, _ = io.WriteString(s, "\n\t"+console.Sanitize(line))
	}
}
