package diagnose

import (
	"slices"
	"strconv"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/harness/result"
)

// maxDifferences bounds Compared.Differences.
const maxDifferences = 16

// agreement compares one reading of memory with one printed dump.
type agreement struct {
	out result.Compared
	// before are the tasks of a reading of memory before the dump. A task that
	// was not scheduled between the two readings did not run in between, so the
	// dump must show it as they do.
	before map[int]*model.Task
}

// agree compares. memory was read after the dump was printed, before ahead of it
// (nil for not at all); whole says that memory's list is complete.
func agree(memory, before []model.Task, whole bool, sec *dump.Section) *result.Compared {
	a := &agreement{before: map[int]*model.Task{}}
	for i := range before {
		a.before[before[i].PID] = &before[i]
	}
	inMemory, last := map[int]*model.Task{}, 0
	for i := range memory {
		inMemory[memory[i].PID] = &memory[i]
	}
	printed := map[int]bool{}
	for i := range sec.Tasks {
		p := &sec.Tasks[i]
		printed[p.PID] = true
		last = max(last, p.PID)
		if m := inMemory[p.PID]; m != nil {
			a.task(m, p)
		} else if whole {
			a.gone(p, memory)
		}
	}
	for i := range memory {
		if m := &memory[i]; m.PID != 0 && !printed[m.PID] && sec.Complete {
			a.unprinted(m, last)
		}
	}
	return &a.out
}

// ran says whether a task may have run between the dump and the reading. Without
// an earlier reading, kernel threads and runnable tasks may have: the keys
// themselves wake them.
func (a *agreement) ran(m, p *model.Task) bool {
	if m.Running || p.Running || m.State == "R" || p.State == "R" {
		return true
	}
	if was := a.before[m.PID]; was != nil && m.Switches != 0 && was.Comm == m.Comm {
		return was.Switches != m.Switches
	}
	return m.KernelThread || len(a.before) > 0
}

// task compares one task.
func (a *agreement) task(m, p *model.Task) {
	if isDumper(p) || m.Running && p.Running {
		return
	}
	frames, what, is, printed := 0, "", "", ""
	stack, other := stackNames(m), stackNames(p)
	switch {
	case m.Comm != p.Comm:
		what, is, printed = "task", m.Comm, p.Comm
	case m.State != p.State && m.State != "?":
		what, is, printed = "state", m.State, p.State
	case p.Torn || len(stack) == 0 || len(other) == 0:
		// One of them has no stack to compare.
	case !slices.Equal(stack, other):
		what, is, printed = "stack", strings.Join(stack, " "), strings.Join(other, " ")
	default:
		frames = len(stack)
	}
	if what != "" && a.ran(m, p) {
		a.out.Moved++
		return
	}
	a.out.Tasks++
	if what != "" {
		a.differ(m, what, is, printed)
		return
	}
	a.out.Agree++
	a.out.Frames += frames
}

// stackNames are the functions of a stack, without the unreliable ones.
func stackNames(t *model.Task) []string {
	var out []string
	for _, f := range t.Frames {
		if f.Reliable {
			out = append(out, f.Base())
		}
	}
	return out
}

// gone judges a task that was printed and is not in memory: it has ended, unless
// memory shows children of it.
func (a *agreement) gone(p *model.Task, memory []model.Task) {
	if slices.ContainsFunc(memory, func(m model.Task) bool { return m.PPID == p.PID && m.PID != p.PID }) || p.PID <= 2 {
		a.out.Tasks++
		a.differ(p, "task", "none", "there")
		return
	}
	a.out.Moved++
}

// unprinted judges a task that is in memory and was not printed. PIDs are allocated
// upwards, so the highest one is new. Dead tasks, which have no stack, are never
// printed (kernel/sched/core.c, sched_show_task).
func (a *agreement) unprinted(m *model.Task, last int) {
	if m.State == "Z" || m.State == "X" {
		return
	}
	if _, was := a.before[m.PID]; m.PID > last && !was {
		a.out.Moved++
		return
	}
	a.out.Tasks++
	a.differ(m, "task", "there", "none")
}

func (a *agreement) differ(t *model.Task, what, is, printed string) {
	if len(a.out.Differences) == maxDifferences {
		a.out.More++
		return
	}
	a.out.Differences = append(a.out.Differences, result.Difference{PID: t.PID, Comm: t.Comm, What: what, Memory: is, Printed: printed})
}

// compareOwners compares the lock holders that memory and the kernel's own reports
// name for the same waiter.
func compareOwners(c *result.Compared, memory, printed []model.Owner) {
	a := agreement{out: *c}
	for _, m := range memory {
		i := slices.IndexFunc(printed, func(p model.Owner) bool { return p.WaiterPID == m.WaiterPID && p.Lock == m.Lock && p.OwnerPID > 0 })
		switch {
		case i < 0 || m.OwnerPID == 0:
		case printed[i].OwnerPID == m.OwnerPID:
			a.out.Owners++
		default:
			a.differ(&model.Task{PID: m.WaiterPID, Comm: m.WaiterComm}, "owner", "PID "+strconv.Itoa(m.OwnerPID), "PID "+strconv.Itoa(printed[i].OwnerPID))
		}
	}
	*c = a.out
}

// compareSources compares memory with the dump of the same hang.
func compareSources(f facts) *result.Compared {
	c := agree(f.in.Memory, f.in.MemoryBefore, !f.in.MemoryPartial, f.tasks.printed)
	var said []model.Owner
	for _, o := range f.log.Owners {
		if o.End > 0 {
			said = append(said, o)
		}
	}
	compareOwners(c, f.in.Owners, said)
	return c
}
