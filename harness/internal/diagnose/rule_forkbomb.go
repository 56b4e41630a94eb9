package diagnose

import (
	"fmt"
	"slices"

	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/harness/result"
)

// A distribution's boot runs some 60 processes, and rarely more than ten of one
// name. A program that forks without end has hundreds within seconds, until the PID
// limit or the memory stops it.
const (
	bombProcesses = 400
	bombShare     = 0.8
	// bombMakers is how many of them must have forked others: a server that starts
	// its workers is only one.
	bombMakers = 20
)

// forkBomb: one program fills the process table. The guest works, but only to fork
// more of the same.
func forkBomb(f facts) *result.Diagnosis {
	tasks, evidence := f.in.Memory, memoryEvidence
	if len(tasks) == 0 {
		if f.tasks.section == nil || len(f.tasks.section.Tasks) < bombProcesses {
			return nil
		}
		tasks, evidence = f.tasks.section.Tasks, func(what string, t *model.Task) result.Evidence {
			e := f.tasks.evidence(t)
			e.What = what
			return e
		}
	}
	users, same := 0, map[string]int{}
	first := map[string]*model.Task{}
	for i := range tasks {
		t := &tasks[i]
		if t.KernelThread || t.PID == 0 || t.TGID != 0 && t.TGID != t.PID {
			continue // threads do not count
		}
		users++
		same[t.Comm]++
		if was := first[t.Comm]; was == nil || t.PID < was.PID {
			first[t.Comm] = t
		}
	}
	for comm, n := range same {
		if n < bombProcesses || float64(n) < bombShare*float64(users) {
			continue
		}
		t := first[comm]
		out := &result.Diagnosis{
			Kind: result.KindHang, Cause: result.CauseForkBomb, Where: result.WhereUserspace, Confidence: result.Certain,
			Title:    "hang: fork bomb: " + stableComm(t) + " fills the process table",
			Summary:  fmt.Sprintf("%d of the %d processes are called %s: it forks without end", n, users, comm),
			Task:     blockedTask(t),
			Remedy:   "look at what starts " + comm + " (the first one is " + t.String() + "); a limit on PIDs (TasksMax=, ulimit -u) keeps the rest of the system alive",
			Evidence: []result.Evidence{evidence("the first one", t)},
		}
		if makers(tasks, comm) < bombMakers {
			if slices.ContainsFunc(tasks, func(c model.Task) bool { return c.Comm == comm && c.TGID == 0 }) {
				return nil // without thread groups: they may be the threads of one process
			}
			out.Confidence = result.Likely
			out.Summary = fmt.Sprintf("%d of the %d processes are called %s, and one program starts them", n, users, comm)
		}
		return out
	}
	return nil
}

// makers counts the processes of a name that have children of the same name.
func makers(tasks []model.Task, comm string) int {
	named, with := map[int]bool{}, map[int]bool{}
	for i := range tasks {
		named[tasks[i].PID] = named[tasks[i].PID] || tasks[i].Comm == comm
	}
	for i := range tasks {
		if t := &tasks[i]; t.Comm == comm && named[t.PPID] {
			with[t.PPID] = true
		}
	}
	return len(with)
}
