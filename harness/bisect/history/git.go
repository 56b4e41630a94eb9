package history

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/images/child"
)

// fixed holds for every run: no hook, nothing in the background, and files as the
// commits have them, all of them. A connection that is dead ends: the files of a
// partial clone come when they are checked out.
var fixed = []string{
	"--no-pager", "-c", "core.hooksPath=" + os.DevNull, "-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "core.fsmonitor=false",
	"-c", "core.sparseCheckout=false", "-c", "core.autocrlf=false", "-c", "submodule.recurse=false", "-c", "advice.detachedHead=false",
	"-c", "http.lowSpeedLimit=1", "-c", "http.lowSpeedTime=240",
}

// git runs git in dir and returns what it printed. Apart from what is fixed the
// user's configuration holds, and git asks nothing, runs no pager, and takes no
// lock that it can do without. It ends with this program.
func git(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", slices.Concat([]string{"-C", dir}, fixed, args)...)
	cmd.Env = append(environment(), "GIT_TERMINAL_PROMPT=0", "GIT_OPTIONAL_LOCKS=0", "LC_ALL=C")
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	err := child.Run(cmd)
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
