package session

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/unwedge/unwedge/harness/bisect"
	"github.com/unwedge/unwedge/harness/internal/bisect/history"
	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
	"github.com/unwedge/unwedge/images/progress"
)

// ofBases names the revisions that a good end is a merge base of, where it fails and the
// user did not name it.
func ofBases(err error, bases []history.Base) error {
	var ends *bisect.EndsError
	if !errors.As(err, &ends) {
		return err
	}
	var revs []string
	for _, b := range bases {
		if b.Hash == ends.Good {
			revs = append(revs, b.Revision)
		}
	}
	if len(revs) == 0 {
		return err
	}
	return fmt.Errorf("%w: it is a merge base of %s, where the failure was fixed later", err, strings.Join(revs, ", "))
}

// doubts are what a reader of the answer should know of the failure.
func doubts(rep *bisect.Report, asked bisect.Options) (notes []string) {
	if t, ok := rep.Contradicted(); ok && !asked.Intermittent {
		notes = append(notes, fmt.Sprintf("the failure is intermittent: %s failed in %d of %d boots; --intermittent takes that into account from the start, and reuses these boots",
			t.Candidate.Name, t.Bad, t.Good+t.Bad))
	}
	for _, t := range rep.Tallies {
		if rep.First != nil && !t.HasFirst && t.Bad > 0 {
			notes = append(notes, fmt.Sprintf("%s failed in %d of %d boots like the bad end although it does not contain the first bad commit: the search treats these boots as misleading",
				t.Candidate.Name, t.Bad, t.Good+t.Bad))
		}
	}
	if rep.Failure.Cause == string(result.CauseUnknown) {
		notes = append(notes, "the cause of the bad end's failure is unknown: any failure at the same stage with as little to go by counts as the same")
	}
	return notes
}

// explained says how to go on after an error, and which errors are wrong use.
func explained(err error, dir string) error {
	switch {
	case errors.As(err, new(*bisect.EndsError)), errors.As(err, new(*bisect.NotOursError)), errors.As(err, new(*bisect.JournalError)):
		return usage.Wrap(err)
	case errors.Is(err, progress.ErrInterrupted):
		return fmt.Errorf("%w: the same command continues where it stopped (%s)", err, dir)
	case errors.As(err, new(*bisect.HarnessError)): // it says how to go on
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w: free some space, then run the same command again", err)
	}
	return err
}

// The files that a bisection leaves beside its journal.
const (
	bisectReport = rundir.Bisection
	bisectLog    = "bisect.log"
)

func writeReport(dir string, rep *bisect.Report) error {
	b, err := json.MarshalIndent(rep, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", bisectReport, err)
	}
	if err := os.WriteFile(filepath.Join(dir, bisectReport), append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}
