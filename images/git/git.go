// Package git runs git: with a fixed configuration, without asking anything, and
// never for longer than this program lives.
package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/unwedge/unwedge/images/internal/child"
)

// Command is one run of git. Dir and Args must be set.
type Command struct {
	Dir  string
	Args []string
	// Env is added to the environment, as NAME=VALUE.
	Env []string
	// Progress, where not nil, receives what git writes to standard error.
	Progress io.Writer
	// Silence is how long git may write nothing to standard error, such as while it
	// waits for a server. 0: without limit.
	Silence time.Duration
	// MaxOutput limits standard output, in bytes. 0: without limit.
	MaxOutput int
}

// fixed holds for every run: no hooks, nothing in the background, no questions, and
// files exactly as the commits have them. A dead http connection ends, but not one to
// a server that counts objects and sends a few bytes for minutes.
var fixed = []string{
	"--no-pager", "-c", "core.hooksPath=" + os.DevNull, "-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "core.askPass=",
	"-c", "core.fsmonitor=false", "-c", "core.sparseCheckout=false", "-c", "core.autocrlf=false", "-c", "submodule.recurse=false",
	"-c", "advice.detachedHead=false", "-c", "fetch.prune=false", "-c", "http.lowSpeedLimit=1", "-c", "http.lowSpeedTime=240",
}

// Run runs git in dir and returns its standard output.
func Run(ctx context.Context, dir string, args ...string) (string, error) {
	return Command{Dir: dir, Args: args}.Run(ctx)
}

// Run runs git and returns its standard output. The error is an *Error where git
// failed, and the cause of the context where that ended. git ends with this program.
func (c Command) Run(ctx context.Context) (string, error) {
	hung := &Error{Verb: c.verb(), Said: fmt.Sprintf("the server has said nothing for %s: it hangs, or the network does", c.Silence), err: context.DeadlineExceeded}
	ctx, heard, stop := listen(ctx, c.Silence, hung)
	defer stop()
	cmd := exec.CommandContext(ctx, "git", slices.Concat([]string{"-C", c.Dir}, fixed, c.Args)...)
	cmd.Env = append(environment(), c.Env...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &capped{b: &out, most: c.MaxOutput}, io.MultiWriter(&limited{b: &said}, heard)
	if c.Progress != nil {
		cmd.Stderr = io.MultiWriter(cmd.Stderr, c.Progress)
	}
	err := child.Run(cmd)
	switch {
	case err == nil:
		return out.String(), nil
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case errors.Is(err, exec.ErrNotFound):
		return "", errors.New("git is not installed: install the package git")
	}
	e := &Error{Verb: c.verb(), Said: complaint(said.String()), err: err}
	e.full = full(c.Dir) || slices.ContainsFunc(fullWords, func(w string) bool { return strings.Contains(strings.ToLower(e.Said), w) })
	return "", e
}

// verb is git's command, behind its own options.
func (c Command) verb() string {
	args := c.Args
	for len(args) > 2 && args[0] == "-c" {
		args = args[2:]
	}
	return args[0]
}

// Error is a run of git that failed. It is unix.ENOSPC where the disk is full.
type Error struct {
	Verb string
	Said string // git's complaint in one line, without logins; may be empty
	full bool
	err  error
}

func (e *Error) Error() string { return "git " + e.Verb + ": " + e.Reason() }

// Reason is what git complained about, or how it ended.
func (e *Error) Reason() string {
	if e.Said == "" {
		return e.err.Error()
	}
	return e.Said
}

func (e *Error) Unwrap() error { return e.err }

// Is recognises a full disk, which git mostly reports as some file it cannot write.
func (e *Error) Is(target error) bool { return e.full && target == error(unix.ENOSPC) }

// fullWords are git's own words for a full disk.
var fullWords = []string{"no space left", "out of diskspace", "disk full", "disk quota exceeded"}

// full reports whether next to nothing is free where dir is.
func full(dir string) bool {
	const least = 4 << 20 // bytes
	var st unix.Statfs_t
	return unix.Statfs(dir, &st) == nil && st.Bavail*uint64(st.Bsize) < least
}

// listen ends a context with hung as its cause when nothing is written to heard for
// that long; never where silence is 0.
func listen(ctx context.Context, silence time.Duration, hung error) (_ context.Context, heard io.Writer, stop func()) {
	if silence == 0 {
		return ctx, io.Discard, func() {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(silence, func() { cancel(hung) })
	return ctx, ear{timer, silence}, func() { timer.Stop(); cancel(nil) }
}

// ear restarts its timer at each write.
type ear struct {
	timer   *time.Timer
	silence time.Duration
}

func (e ear) Write(p []byte) (int, error) {
	e.timer.Reset(e.silence)
	return len(p), nil
}

// kept are the variables of git's own that reach it: how to connect, what to trace,
// and where to look. Others point it to another repository, as `git bisect run` and
// hooks do, or let it ask. The configuration of the user and of the host holds: it
// may name a proxy or a mirror.
var kept = []string{
	"GIT_SSH", "GIT_SSL", "GIT_PROXY", "GIT_TRACE", "GIT_CONFIG", "GIT_EXEC_PATH", "GIT_ALLOW_PROTOCOL", "GIT_CEILING_DIRECTORIES", "GIT_DISCOVERY_ACROSS_FILESYSTEM",
}

// environment is the process's own without what points git elsewhere or lets it ask.
func environment() []string {
	out := slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return name == "SSH_ASKPASS" || name == "LC_ALL" || name == "LANGUAGE" || strings.HasPrefix(name, "GIT_") &&
			!slices.ContainsFunc(kept, func(k string) bool { return strings.HasPrefix(name, k) })
	})
	return append(out, "LC_ALL=C", "GIT_TERMINAL_PROMPT=0", "GIT_OPTIONAL_LOCKS=0")
}

// limited keeps the end of what is written: a long fetch reports thousands of lines.
type limited struct{ b *bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	const most = 64 << 10
	l.b.Write(p)
	if over := l.b.Len() - most; over > most {
		l.b.Next(over)
	}
	return len(p), nil
}

// capped refuses more than most bytes, where that is not 0.
type capped struct {
	b    *bytes.Buffer
	most int
}

func (c *capped) Write(p []byte) (int, error) {
	if c.most != 0 && c.b.Len()+len(p) > c.most {
		return 0, fmt.Errorf("git printed more than %d MiB", c.most>>20)
	}
	return c.b.Write(p)
}
