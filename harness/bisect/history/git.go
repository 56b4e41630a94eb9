package history

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// git runs git in dir and returns what it printed. The user's configuration
// holds, except that git asks nothing, runs no hook and no pager, and takes no
// lock that it can do without.
func git(ctx context.Context, dir string, args ...string) (string, error) {
	fixed := []string{"-C", dir, "--no-pager", "-c", "core.hooksPath=" + os.DevNull, "-c", "gc.auto=0", "-c", "advice.detachedHead=false"}
	cmd := exec.CommandContext(ctx, "git", append(fixed, args...)...)
	cmd.Env = append(environment(), "GIT_TERMINAL_PROMPT=0", "GIT_OPTIONAL_LOCKS=0", "LC_ALL=C")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it removes its lock files then
	cmd.WaitDelay = 5 * time.Second
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	err := cmd.Run()
	switch {
	case err == nil:
		return out.String(), nil
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case errors.Is(err, exec.ErrNotFound):
		return "", fmt.Errorf("run git: it is not installed: install the package git")
	default:
		return "", &GitError{Args: args, Said: firstLine(complaint.String()), err: err}
	}
}

// environment is the process's own, without what points git to another
// repository: `git bisect run` and hooks set these.
func environment() []string {
	var out []string
	for _, v := range os.Environ() {
		switch name, _, _ := strings.Cut(v, "="); name {
		case "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR":
		default:
			out = append(out, v)
		}
	}
	return out
}

// GitError is a git command that failed.
type GitError struct {
	Args []string
	Said string // the first line of its complaint
	err  error
}

func (e *GitError) Error() string {
	said := e.Said
	if said == "" {
		said = e.err.Error()
	}
	return fmt.Sprintf("git %s: %s", e.Args[0], said)
}

func (e *GitError) Unwrap() error { return e.err }

func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return strings.TrimPrefix(strings.TrimPrefix(s, "fatal: "), "error: ")
}
