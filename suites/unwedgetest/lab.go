package unwedgetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/onsi/ginkgo/v2"

	"github.com/unwedge/unwedge/harness/plan"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
	"github.com/unwedge/unwedge/images/mutate"
	"github.com/unwedge/unwedge/images/progress"
)

// planner is the process's only Planner. It shares the cache and state of the command
// line.
var planner = sync.OnceValues(newPlanner)

func newPlanner() (*plan.Planner, error) {
	p, err := plan.New("suite")
	if err != nil {
		return nil, err
	}
	switch accel := os.Getenv("UNWEDGE_ACCEL"); accel {
	case "", "auto":
	case string(result.KVM), string(result.TCG):
		p.Force = result.Accel(accel)
	default:
		return nil, fmt.Errorf("UNWEDGE_ACCEL %q: use auto, kvm or tcg", accel)
	}
	return p, nil
}

func mutantIn(dir string) string { return filepath.Join(dir, "kernel") }

func skipRefused(err error) {
	var refused *mutate.RefusedError
	if errors.As(err, &refused) {
		ginkgo.Skip(refused.Error())
	}
}

// OutDir makes a new directory for artifacts: below UNWEDGE_OUT, where it stays,
// or else in the temporary directory, where it stays only if the spec fails.
func OutDir() (string, error) {
	base := os.Getenv("UNWEDGE_OUT")
	if base == "" {
		dir, err := os.MkdirTemp("", "unwedge-suite-")
		if err != nil {
			return "", fmt.Errorf("make run directory: %w", err)
		}
		ginkgo.DeferCleanup(func() error {
			if ginkgo.CurrentSpecReport().Failed() {
				return nil
			}
			return os.RemoveAll(dir)
		})
		return dir, nil
	}
	if !filepath.IsAbs(base) {
		return "", fmt.Errorf("UNWEDGE_OUT %q: use an absolute path, because each suite runs in its own directory", base)
	}
	return rundir.Create(base, ginkgo.CurrentSpecReport().LeafNodeText, "suite", time.Now())
}

// withProgress reports slow preparations on Ginkgo's writer.
func withProgress(ctx context.Context) context.Context { return progress.With(ctx, toWriter{}) }

type toWriter struct{}

func (toWriter) Task(name string, _ int64) progress.Task {
	ginkgo.GinkgoWriter.Printf("%s ...\n", name)
	return task{name, time.Now()}
}

type task struct {
	name    string
	started time.Time
}

func (task) Add(int64)   {}
func (task) Note(string) {}
func (t task) Done(err error) {
	ginkgo.GinkgoWriter.Printf("%s: %s, %v\n", t.name, time.Since(t.started).Round(100*time.Millisecond), err)
}
