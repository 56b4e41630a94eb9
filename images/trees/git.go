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
	"slices"
	"strings"
	"time"

	"github.com/unwedge/unwedge/images/child"
)

// command is one run of git.
type command struct {
	dir      string
	objects  string    // reads this object directory instead of the repository's own
	progress io.Writer // receives what git says besides
	// silence, where not 0, is for how long git may say nothing: it waits for a
	// server then.
	silence time.Duration
	args    []string
}

// always holds for every run: nothing in the background, no hook, no question
// asked, and over http a connection that has gone dead ends. A server that counts
// objects sends some bytes only, for minutes.
var always = []string{
	"--no-pager", "-c", "core.hooksPath=" + os.DevNull, "-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "core.askPass=",
	"-c", "fetch.prune=false", "-c", "http.lowSpeedLimit=1", "-c", "http.lowSpeedTime=240",
}

// git runs git and returns what it printed. The error is a *gitError, or says why
// the context ended. git ends with this program.
func git(ctx context.Context, c command) (string, error) {
	hung := &gitError{verb: c.args[0], said: fmt.Sprintf("the server has said nothing for %s: it hangs, or the network does", c.silence), err: context.DeadlineExceeded}
	ctx, heard, stop := listen(ctx, c.silence, hung)
	defer stop()
	cmd := exec.CommandContext(ctx, "git", append(append([]string{"-C", c.dir}, always...), c.args...)...)
	cmd.Env = environment(c.objects)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &capped{b: &out}, io.MultiWriter(&limited{b: &said}, heard)
	if c.progress != nil {
		cmd.Stderr = io.MultiWriter(cmd.Stderr, c.progress)
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
	return "", &gitError{verb: c.args[0], said: complaint(said.String()), err: err}
}

// listen ends a context with hung as its cause when nothing is written to heard
// for that long; never where silence is 0.
func listen(ctx context.Context, silence time.Duration, hung error) (_ context.Context, heard io.Writer, stop func()) {
	if silence == 0 {
		return ctx, io.Discard, func() {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(silence, func() { cancel(hung) })
	return ctx, ear{timer, silence}, func() { timer.Stop(); cancel(nil) }
}

// ear starts its timer anew at each word.
type ear struct {
	timer   *time.Timer
	silence time.Duration
}

func (e ear) Write(p []byte) (int, error) {
	e.timer.Reset(e.silence)
	return len(p), nil
}

// environment is the process's own without what points git elsewhere or lets it
// ask. The configuration of the user and of the host holds: it may name a proxy or a
// mirror.
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
	out = append(out, "LC_ALL=C", "GIT_TERMINAL_PROMPT=0", "GIT_ALLOW_PROTOCOL="+strings.Join(transports, ":"))
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

// besides are lines that say what followed from a failure, or that are no failure.
var besides = []string{
	"Could not read from remote", "fetch-pack: ", "index-pack failed", "early EOF", "some local refs could not be updated",
	"does not point to a valid object", "object directory ",
}

// complaint picks git's first line that says what failed, and what the server said.
func complaint(text string) string {
	var first, other, remote string
	for line := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == '\n' || r == '\r' }) {
		for _, prefix := range []string{"fatal: ", "error: ", "ssh: "} {
			if rest, ok := strings.CutPrefix(line, prefix); ok {
				rest = strings.TrimSpace(accessRE.ReplaceAllString(rest, ""))
				if slices.ContainsFunc(besides, func(s string) bool { return strings.HasPrefix(rest, s) || strings.Contains(rest, " "+s) }) {
					other = rest
				} else if first == "" {
					first = rest
				}
			}
		}
		if loginLineRE.MatchString(line) && first == "" {
			first = strings.TrimSpace(line)
		}
		if rest, ok := strings.CutPrefix(line, "remote: "); ok && !strings.Contains(rest, "objects") && !strings.HasPrefix(rest, "Total ") {
			remote = strings.TrimSpace(rest)
		}
	}
	if first == "" {
		first = other
	}
	if remote != "" && first != "" && !strings.Contains(first, remote) {
		first += " (" + remote + ")"
	}
	return clean(first)
}

// loginLineRE is what ssh says without a name before it.
var loginLineRE = regexp.MustCompile(`^(\S+: Permission denied \(|Host key verification failed)`)

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
