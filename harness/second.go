package harness

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
	"github.com/unwedge/unwedge/scenarios"
)

// bootAgain boots once more where the first boot's diagnosis says with which arguments
// that would tell more, and joins what it told into the Result. Whatever happens to it,
// the first boot's Result stands.
func bootAgain(ctx context.Context, req Request, res *result.Result) {
	if !worthAgain(req, res) || ctx.Err() != nil {
		return
	}
	added := res.Diagnosis.Again
	dir := filepath.Join(req.Dir, rundir.Second)
	s := &result.Second{Added: added, Dir: rundir.Second}
	req.observer().Phase(Again, "with "+strings.Join(added, " ")+", which names what the first boot left open")
	began := time.Now()
	second, err := bootOnceIn(ctx, dir, again(req, added))
	s.Took = time.Since(began)
	switch {
	case err == nil:
		join(res, s, second)
	case ctx.Err() != nil:
		s.Told, s.Says = result.ToldNotMade, "it was ended: "+oneNote(context.Cause(ctx))
	default:
		s.Told, s.Says = result.ToldNotMade, "it could not be made: "+oneNote(err)
	}
	res.Second = s
	if failed := writeFiles(res); failed != nil {
		res.Notes = append(res.Notes, oneNote(failed))
	}
}

// worthAgain says whether a second boot is allowed and can help. What the guest's own
// boot loader starts cannot be given arguments.
func worthAgain(req Request, res *result.Result) bool {
	return req.Again && res.Diagnosis != nil && len(res.Diagnosis.Again) > 0 &&
		!res.Expected && !req.Keep && len(req.Probes) == 0 && req.Machine.Kernel != ""
}

// again is the request of the second boot. The arguments come first: behind a "--" of the
// user's they would be init's.
func again(req Request, added []string) Request {
	req.Machine.Scenario.Cmdline = slices.Concat(added, req.Machine.Scenario.Cmdline)
	req.Again, req.Calibration, req.Against, req.Notes = false, nil, nil, nil
	return req
}

func bootOnceIn(ctx context.Context, dir string, req Request) (*result.Result, error) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make run directory: %w", err)
	}
	req.Dir = dir
	return bootOnce(ctx, req)
}

// join judges what the second boot told, and takes its diagnosis over where it is of the
// same failure and names more.
func join(res *result.Result, s *result.Second, second *result.Result) {
	s.Outcome, s.Why, s.Diagnosis = second.Outcome, second.Why, second.Diagnosis
	first, d := res.Diagnosis, second.Diagnosis
	switch {
	case second.Outcome == scenarios.Booted:
		s.Told = result.ToldIntermittent
		s.Says = fmt.Sprintf("it booted: the %s does not show in each boot, or %s hide it by changing the timing", res.Outcome, strings.Join(s.Added, " and "))
	case d == nil || second.Outcome != res.Outcome || !reached(d).alike(reached(first)):
		s.Told = result.ToldOtherwise
		s.Says = "it failed in another way: " + title(d, second)
	case !namesMore(d, first):
		s.Told = result.ToldNothing
		s.Says = "it failed in the same way, and named no more: " + title(d, second)
	default:
		s.Told, s.First = result.ToldMore, first
		s.Says = "it failed in the same way, and named what the first left open: " + title(d, second)
		joined := *d
		joined.Evidence = slices.Clone(d.Evidence)
		for i := range joined.Evidence { // the offsets are those of another log
			joined.Evidence[i].What, joined.Evidence[i].Offset = "second boot: "+joined.Evidence[i].What, -1
		}
		joined.Notes = append(slices.Clone(d.Notes), "told by a second boot with "+strings.Join(s.Added, " ")+"; of the first alone: "+first.Title)
		res.Diagnosis = &joined
	}
}

// place is how far a boot came, as its diagnosis tells.
type place dump.Stage

func reached(d *result.Diagnosis) place { return place(d.Stage) }

// alike says that two boots came equally far, as far as a console shows that: one that is
// asked for more may show the stage that the other only reached.
func (p place) alike(q place) bool {
	early := func(s place) bool { return dump.Stage(s).Rank() < dump.StageInit.Rank() }
	return p == q || early(p) && early(q)
}

// namesMore says that a diagnosis names a cause, a task or a function that another leaves
// open, or is surer of what it says.
func namesMore(d, than *result.Diagnosis) bool {
	switch {
	case d.Cause == result.CauseUnknown:
		return false
	case than.Cause == result.CauseUnknown:
		return true
	case d.Task != nil && than.Task == nil, d.Function != "" && than.Function == "":
		return true
	case d.Cause == result.CauseInitcall && than.Cause != result.CauseInitcall:
		return true
	}
	return sureness[d.Confidence] > sureness[than.Confidence]
}

var sureness = map[result.Confidence]int{result.Possible: 1, result.Likely: 2, result.Certain: 3}

func title(d *result.Diagnosis, r *result.Result) string {
	if d == nil {
		return r.Why
	}
	return cmp.Or(d.Title, r.Why)
}
