package trees

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// command is one run of git.
type command struct {
	dir      string
	objects  string    // reads this object directory instead of the repository's own
	progress io.Writer // receives what git says besides
	args     []string
}

// always holds for every run: nothing in the background, no hook, no question
// asked, and a connection that has gone dead ends after a minute.
var always = []string{
	"--no-pager", "-c", "core.hooksPath=" + os.DevNull, "-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "core.askPass=",
	"-c", "fetch.prune=false", "-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=60",
}

// git runs git and returns what it printed. The error is a *gitError.
func git(ctx context.Context, c command) (string, error) {
	cmd := exec.CommandContext(ctx, "git", append(append([]string{"-C", c.dir}, always...), c.args...)...)
	cmd.Env = environment(c.objects)
	// A session of its own: ssh finds no terminal to ask on, and git's helpers
	// end with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &capped{b: &out}, &limited{b: &said}
	if c.progress != nil {
		cmd.Stderr = io.MultiWriter(cmd.Stderr, c.progress)
	}
	err := cmd.Run()
	switch {
	case err == nil:
		return out.String(), nil
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case errors.Is(err, exec.ErrNotFound):
		return "", errors.New("git is not installed: install the package git")
	}
	return "", &gitError{verb: c.args[0], said: complaint(said.String()), err: err}
}

// environment is the process's own without what points git elsewhere or lets it
// ask. The user's configuration holds: it may name a proxy or a mirror.
func environment(objects string) []string {
	var out []string
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		switch {
		case name == "SSH_ASKPASS", name == "LC_ALL", name == "LANGUAGE":
		case !strings.HasPrefix(name, "GIT_"), strings.HasPrefix(name, "GIT_SSH"), strings.HasPrefix(name, "GIT_SSL"),
			strings.HasPrefix(name, "GIT_PROXY"), strings.HasPrefix(name, "GIT_TRACE"), strings.HasPrefix(name, "GIT_CONFIG"),
			name == "GIT_EXEC_PATH":
			out = append(out, v)
		}
	}
	out = append(out, "LC_ALL=C", "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "GIT_ALLOW_PROTOCOL="+strings.Join(transports, ":"))
	if objects != "" {
		out = append(out, "GIT_OBJECT_DIRECTORY="+objects)
	}
	return out
}

// gitError is a run of git that failed.
type gitError struct {
	verb string
	said string // what git complained of, in one line
	err  error
}

func (e *gitError) Error() string {
	if e.said == "" {
		return fmt.Sprintf("git %s: %v", e.verb, e.err)
	}
	return e.said
}

func (e *gitError) Unwrap() error { return e.err }

// complaint picks git's last "fatal:" or "error:" line, and what the server
// said.
func complaint(text string) string {
	var last, remote string
	for line := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == '\n' || r == '\r' }) {
		for _, prefix := range []string{"fatal: ", "error: ", "ssh: "} {
			if rest, ok := strings.CutPrefix(line, prefix); ok && !strings.HasPrefix(rest, "Could not read from remote") {
				last = strings.TrimSpace(accessRE.ReplaceAllString(rest, ""))
			}
		}
		if rest, ok := strings.CutPrefix(line, "remote: "); ok && !strings.Contains(rest, "objects") && !strings.HasPrefix(rest, "Total ") {
			remote = strings.TrimSpace(rest)
		}
	}
	if remote != "" && last != "" && !strings.Contains(last, remote) {
		last += " (" + remote + ")"
	}
	return clean(last)
}

// accessRE is what git says before the reason, with a URL that the reader has
// been told.
var accessRE = regexp.MustCompile(`^unable to access '[^']*': `)

// clean makes a server's words fit for a terminal and one line.
func clean(s string) string {
	const most = 400
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return -1
		}
		return r
	}, s)
	return strings.ToValidUTF8(s[:min(len(s), most)], "")
}

// limited keeps the end of what is written: a long fetch reports thousands of
// lines.
type limited struct{ b *bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	const most = 64 << 10
	l.b.Write(p)
	if over := l.b.Len() - most; over > most {
		l.b.Next(over)
	}
	return len(p), nil
}

// capped refuses more than a server with a sane number of refs says: linux-stable
// has some 500 KB of them.
type capped struct{ b *bytes.Buffer }

func (c *capped) Write(p []byte) (int, error) {
	const most = 64 << 20
	if c.b.Len()+len(p) > most {
		return 0, fmt.Errorf("more than %d MiB", most>>20)
	}
	return c.b.Write(p)
}

// isRepo says whether a directory is a bare repository.
func isRepo(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "HEAD"))
	return err == nil
}
