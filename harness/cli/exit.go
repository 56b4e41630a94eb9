package cli

import (
	"errors"
	"fmt"

	"github.com/unwedge/unwedge/harness/history/store"
	"github.com/unwedge/unwedge/harness/inspect"
	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/plan"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/images/kernel"
	"github.com/unwedge/unwedge/images/progress"
	"github.com/unwedge/unwedge/images/trees"
)

// The exit codes, for scripts.
const (
	exitFine        = 0   // all as expected
	exitKernel      = 1   // a kernel failed its scenario
	exitUsage       = 2   // usage or bad input
	exitHarness     = 3   // the harness, QEMU or the host failed
	exitInterrupted = 130 // SIGINT or SIGTERM, as shells number it
)

// errInterrupted is the cause of a context that a signal ended.
var errInterrupted = progress.ErrInterrupted

// errKernel ends a command whose kernel failed; the report is printed already.
var errKernel = errors.New("a kernel failed its scenario")

// exit prints err, unless that was done, and returns the exit code.
func (a *app) exit(err error) int {
	if err == nil {
		return exitFine
	}
	code := exitCode(err)
	if said := new(gitError); !errors.Is(err, errKernel) && !(errors.As(err, &said) && said.err == nil) {
		fmt.Fprintln(a.stderr, "unwedge:", console.OneLine(err))
	}
	return code
}

func exitCode(err error) int {
	var git *gitError
	switch {
	case errors.Is(err, errInterrupted):
		return exitInterrupted
	case errors.As(err, &git):
		return git.code
	case errors.Is(err, errKernel), errors.As(err, new(inspect.NothingError)):
		return exitKernel
	case errors.Is(err, store.ErrNone), errors.As(err, new(usage.Error)), errors.As(err, new(*plan.UnsupportedError)), errors.As(err, new(*kernel.BadKernelError)),
		errors.As(err, new(*candidate.NotFoundError)), errors.As(err, new(*candidate.PackageError)),
		errors.As(err, new(*trees.UnknownTreeError)), errors.As(err, new(*trees.RevisionError)), errors.As(err, new(*trees.NoBranchError)):
		return exitUsage
	default:
		return exitHarness
	}
}
