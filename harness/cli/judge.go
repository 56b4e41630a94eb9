package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/unwedge/unwedge/harness"
	"github.com/unwedge/unwedge/harness/internal/known"
	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/report"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
	"github.com/unwedge/unwedge/scenarios"
)

// judgeFlags say which findings count.
type judgeFlags struct {
	strict bool
	known  string
}

func (f *judgeFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.strict, "strict", false, "a warning of the kernel fails the boot, too")
	cmd.Flags().StringVar(&f.known, "known", "", "YAML `FILE` of findings and failures that do not count: pattern or signature, arch, releases, reason, link, expires")
}

// list reads the file of known findings.
func (f *judgeFlags) list() (known.List, error) {
	if f.known == "" {
		return known.List{}, nil
	}
	l, err := known.Load(f.known)
	if err != nil {
		err = usage.Wrap(err)
	}
	return l, err
}

// apply makes a boot be judged so.
func (f *judgeFlags) apply(req *harness.Request) (err error) {
	if f.strict {
		req.Machine.Scenario.Expect.Findings = scenarios.FindingsNone
	}
	req.Known, err = f.list()
	return err
}

// uses says how often what is known was seen, and what was not seen any more.
func (f *judgeFlags) uses(boots ...*result.Result) (said []string) {
	l, err := f.list()
	if err != nil {
		return nil // it was read before the boots; the user has changed it since
	}
	for _, u := range l.Uses(boots, time.Now()) {
		said = append(said, "note: "+report.Safe(u.String(), 400))
	}
	return said
}

// mark says of an explained log's findings which are known, and which the good log does
// not have.
func (f *judgeFlags) mark(e *result.Explanation, good *result.Baseline) error {
	l, err := f.list()
	if err != nil {
		return err
	}
	var notes []string
	e.Findings, notes = l.For("", "").Mark(e.Findings, time.Now())
	if good != nil {
		var fresh int
		e.Findings, fresh = good.Mark(e.Findings)
		notes = append(notes, fmt.Sprintf("compared with %s: %d of %d findings are new", good.From, fresh, len(e.Findings)))
	}
	e.Notes = append(e.Notes, notes...)
	return nil
}

// fails says whether a log is one of a failure: its cause is not known, or its boot came
// through with findings that count.
func (f *judgeFlags) fails(e result.Explanation) bool {
	allowed := scenarios.FindingsWarnings
	if f.strict {
		allowed = scenarios.FindingsNone
	}
	return e.Cause == result.CauseUnknown || e.Kind == result.KindBooted && !result.Tolerated(e.LastBoot(), allowed)
}

// goodBoot are the findings of a Result, nil without a path.
func goodBoot(path string) (*result.Baseline, error) {
	if path == "" {
		return nil, nil
	}
	if st, err := os.Stat(path); err == nil && st.IsDir() {
		path = filepath.Join(path, rundir.Result)
	}
	r, err := result.Read(path)
	if err != nil {
		return nil, usage.Wrap(err)
	}
	return &result.Baseline{From: path, Findings: r.Findings}, nil
}
