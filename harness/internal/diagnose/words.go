package diagnose

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/harness/result"
)

// stateWord says how a task in a state sleeps.
func stateWord(t *model.Task) string {
	switch t.State {
	case "D":
		return "is blocked (D)"
	case "R":
		return "runs"
	case "T", "t":
		return "is stopped"
	case "?", "":
		if len(t.Frames) == 0 {
			return "is not in the dump"
		}
	}
	return "sleeps"
}

func atFunc(w wait) string {
	if w.fn == "" {
		return ""
	}
	return " in " + w.fn
}

func orWhat(s string) string { return cmp.Or(s, "something in the kernel") }

func orUnknown(s string) string { return cmp.Or(s, "not known") }

func orName(s string) string { return cmp.Or(s, "NAME") }

func orState(s string) string { return cmp.Or(s, "D") }

func orTask(r *dump.Report) string {
	if r.Comm == "" {
		return "one task"
	}
	return fmt.Sprintf("%s (PID %d)", r.Comm, r.PID)
}

func orCall(t *model.Task, w wait) string {
	if t.Syscall != nil && t.Syscall.Name != "" && w.mech != onStop { // a task stops on the way out of any call
		return t.Syscall.Name
	}
	return orUnknown(w.fn)
}

func orFail(e dump.Event) string {
	if e.Subject == "" {
		return e.Text
	}
	return "failed: " + e.Subject
}

func named(s string) string {
	if s == "" {
		return ""
	}
	return " (root=" + s + ")"
}

func times(e dump.Event) string {
	if e.Elapsed == "" {
		return ""
	}
	return " (" + e.Elapsed + " of " + e.Limit + ")"
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// stableComm is a task's name for a title, without the instance numbers of kworkers.
func stableComm(t *model.Task) string {
	if t == nil {
		return "?"
	}
	if strings.HasPrefix(t.Comm, "kworker/") {
		return "kworker"
	}
	if t.PID == 1 && t.Comm == "swapper/0" {
		return "kernel_init"
	}
	return t.Comm
}

func asConfidence(sure bool) result.Confidence {
	if sure {
		return result.Certain
	}
	return result.Likely
}

// roundTrip names the tasks of a ring, the first of them again at its end.
func roundTrip(ring []*model.Task) string {
	var s strings.Builder
	for _, t := range ring {
		s.WriteString(t.String() + " → ")
	}
	return s.String() + ring[0].String()
}

// stateUnknown is the state of a task of which only the stack was printed, as by
// /proc/PID/stack or drgn.
const stateUnknown = "?"
