package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/report"
	"github.com/unwedge/unwedge/harness/result"
)

// explainedLog is one log of many, a line of `explain --json DIR`.
type explainedLog struct {
	Log string `json:"log"`
	// Error says why the log was not explained.
	Error string `json:"error,omitempty"`
	*result.Explanation
}

// explainMany explains logs one after the other. As JSON each is a line of its own as
// soon as it is known; else they are grouped by signature.
func (a *app) explainMany(ctx context.Context, paths []string, how explaining) error {
	logs, err := logFiles(paths)
	if err != nil {
		return usage.Wrap(err)
	}
	groups := groups{}
	failed := false
	for _, path := range logs {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		one := explainedLog{Log: path}
		if log, err := a.readBounded(path); err != nil {
			one.Error = err.Error()
		} else {
			d := how.diagnose(log)
			if err := how.judge.mark(&d, how.good); err != nil {
				return err
			}
			one.Explanation = &d
		}
		failed = failed || one.Explanation == nil || how.judge.fails(*one.Explanation)
		if !how.asJSON {
			groups.add(one)
			continue
		}
		if err := report.JSONLine(a.stdout, one); err != nil {
			return err
		}
	}
	if !how.asJSON {
		if _, err := fmt.Fprint(a.stdout, groups.text()); err != nil {
			return err
		}
	}
	if failed {
		return errKernel
	}
	return nil
}

// logFiles are the regular files below the paths, in order.
func logFiles(paths []string) ([]string, error) {
	var out []string
	for _, path := range paths {
		err := filepath.WalkDir(path, func(name string, e fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return fmt.Errorf("read logs: %w", err)
			case e.IsDir() && name != path && strings.HasPrefix(e.Name(), "."):
				return fs.SkipDir
			case e.Type().IsRegular() || name == path && !e.IsDir():
				out = append(out, name)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if len(out) == 0 {
		return nil, errors.New("read logs: no file in " + strings.Join(paths, ", "))
	}
	return out, nil
}

// groups are logs with the same signature.
type groups []group

type group struct {
	signature string
	example   explainedLog
	logs      []string
}

// add puts a log into its group.
func (g *groups) add(l explainedLog) {
	signature := ""
	if l.Explanation != nil {
		signature = l.Signature
	}
	i := slices.IndexFunc(*g, func(o group) bool { return o.signature == signature })
	if i < 0 {
		*g, i = append(*g, group{signature: signature, example: l}), len(*g)
	}
	(*g)[i].logs = append((*g)[i].logs, l.Log)
}

// text lists the groups, the largest first.
func (g groups) text() string {
	var b strings.Builder
	slices.SortStableFunc(g, func(x, y group) int { return len(y.logs) - len(x.logs) })
	for _, one := range g {
		title, cause := "not read: "+one.example.Error, ""
		if d := one.example.Explanation; d != nil {
			title, cause = d.Title, fmt.Sprintf("%s (%s)", d.Cause, d.Confidence)
		}
		fmt.Fprintf(&b, "%5d  %s\n", len(one.logs), report.Safe(title, 200))
		if cause != "" {
			fmt.Fprintf(&b, "       cause:   %s\n", cause)
		}
		fmt.Fprintf(&b, "       example: %s\n", report.Safe(one.example.Log, 300))
	}
	return b.String()
}

// followEvery is how often a log that grows is looked at.
const followEvery = 500 * time.Millisecond

// follow explains a log that grows until the verdict is certain, or the boot came
// through.
func (a *app) follow(ctx context.Context, path string, how explaining) error {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	size := int64(-1)
	var last result.Explanation
	for pause := time.Duration(0); ; {
		if st, err := os.Stat(path); err != nil {
			return usage.Wrap(fmt.Errorf("read log: %w", err))
		} else if st.Size() != size && st.Size() > 0 && pause <= 0 {
			size = st.Size()
			log, err := a.readBounded(path)
			if err != nil {
				return usage.Wrap(err)
			}
			start := time.Now()
			last = how.diagnose(log)
			if last.Confidence == result.Certain || last.Kind == result.KindBooted {
				return a.explained(last, how)
			}
			pause = 4 * time.Since(start) // a long log is not read all the time
		}
		select {
		case <-tick.C:
			pause -= followEvery
		case <-ctx.Done():
			if size >= 0 {
				_ = a.explained(last, how)
			}
			return context.Cause(ctx)
		}
	}
}
