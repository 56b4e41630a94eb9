package diagnose

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/unwedge/unwedge/harness/dump"
)

// Compared says how far the guest's memory and what its kernel printed (sysrq-t)
// agree on the tasks. Both are looks at the same hang, made one after the other:
// what differs because the guest ran in between is told apart.
type Compared struct {
	// Tasks are those that both show and that can be compared, Agree how many
	// of them are alike.
	Tasks int `json:"tasks"`
	Agree int `json:"agree"`
	// Frames are the functions on their stacks that are the same.
	Frames int `json:"frames"`
	// Owners are the holders of locks that both name, and name alike.
	Owners int `json:"owners,omitempty"`
	// Moved are the tasks that ran, began or ended between the two looks.
	Moved int `json:"moved,omitempty"`
	// Differences are what is not explained by that, the first of them; More is
	// how many there are beside.
	Differences []Difference `json:"differences,omitempty"`
	More        int          `json:"more,omitempty"`
}

// Difference is one fact on which memory and the printed dump differ.
type Difference struct {
	PID  int    `json:"pid"`
	Comm string `json:"comm"`
	// What is "task", "state", "stack" or "owner".
	What    string `json:"what"`
	Memory  string `json:"memory"`
	Printed string `json:"printed"`
}

func (d Difference) String() string {
	return fmt.Sprintf("%s of %s (PID %d): %s in memory, %s as printed", d.What, d.Comm, d.PID, d.Memory, d.Printed)
}

// String is the outcome in one line.
func (c *Compared) String() string {
	moved := ""
	if c.Moved > 0 {
		moved = fmt.Sprintf("; %s between the two looks", plural(c.Moved, "task ran, began or ended", "tasks ran, began or ended"))
	}
	if len(c.Differences) == 0 {
		return fmt.Sprintf("memory and sysrq-t agree on %s, %s%s", plural(c.Agree, "task", "tasks"), plural(c.Frames, "frame", "frames"), moved)
	}
	var said []string
	for _, d := range c.Differences[:min(len(c.Differences), 3)] {
		said = append(said, d.String())
	}
	s := fmt.Sprintf("memory and sysrq-t differ (%d of %s agree): %s", c.Agree, plural(c.Tasks, "task", "tasks"), strings.Join(said, "; "))
	if n := len(c.Differences) + c.More - len(said); n > 0 {
		s += fmt.Sprintf("; %d more", n)
	}
	return s + moved
}

// maxDifferences bounds Compared.Differences.
const maxDifferences = 16

// agreement compares one look at memory with one printed dump.
type agreement struct {
	out Compared
	// before are the tasks of an earlier look at memory, before the dump: who
	// has not been switched to between that look and the later one has not
	// run, and stands in the dump as it does in both.
	before map[int]*dump.Task
}

// agree compares. memory is a look after the dump was printed, before one ahead
// of it (nil where there was none), whole says that memory's list has an end.
func agree(memory, before []dump.Task, whole bool, sec *dump.Section) *Compared {
	a := &agreement{before: map[int]*dump.Task{}}
	for i := range before {
		a.before[before[i].PID] = &before[i]
	}
	inMemory, last := map[int]*dump.Task{}, 0
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

// ran says whether a task may have run between the two looks. Without an earlier
// look, kernel threads and what is about to run may have: they are woken by the
// keys themselves.
func (a *agreement) ran(m, p *dump.Task) bool {
	if m.Running || p.Running || m.State == "R" || p.State == "R" {
		return true
	}
	if was := a.before[m.PID]; was != nil && m.Switches != 0 && was.Comm == m.Comm {
		return was.Switches != m.Switches
	}
	return m.KernelThread || len(a.before) > 0
}

// task compares what both say of one.
func (a *agreement) task(m, p *dump.Task) {
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
		// One of them has no stack that could be compared.
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

// stackNames are the functions of a stack, without those that are guesses.
func stackNames(t *dump.Task) []string {
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
func (a *agreement) gone(p *dump.Task, memory []dump.Task) {
	if slices.ContainsFunc(memory, func(m dump.Task) bool { return m.PPID == p.PID && m.PID != p.PID }) || p.PID <= 2 {
		a.out.Tasks++
		a.differ(p, "task", "none", "there")
		return
	}
	a.out.Moved++
}

// unprinted judges a task that is in memory and was not printed. PIDs are given
// out upwards, so one beyond all others has begun since. The dead, which have no
// stack, are never printed (kernel/sched/core.c, sched_show_task).
func (a *agreement) unprinted(m *dump.Task, last int) {
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

func (a *agreement) differ(t *dump.Task, what, is, printed string) {
	if len(a.out.Differences) == maxDifferences {
		a.out.More++
		return
	}
	a.out.Differences = append(a.out.Differences, Difference{PID: t.PID, Comm: t.Comm, What: what, Memory: is, Printed: printed})
}

// owners compares the holders of locks that memory and the kernel's own reports
// name for the same waiter.
func (c *Compared) owners(memory, printed []dump.Ownership) {
	a := agreement{out: *c}
	for _, m := range memory {
		i := slices.IndexFunc(printed, func(p dump.Ownership) bool { return p.WaiterPID == m.WaiterPID && p.Lock == m.Lock && p.OwnerPID > 0 })
		switch {
		case i < 0 || m.OwnerPID == 0:
		case printed[i].OwnerPID == m.OwnerPID:
			a.out.Owners++
		default:
			a.differ(&dump.Task{PID: m.WaiterPID, Comm: m.WaiterComm}, "owner", "PID "+strconv.Itoa(m.OwnerPID), "PID "+strconv.Itoa(printed[i].OwnerPID))
		}
	}
	*c = a.out
}

// compareSources holds memory against the dump of the same hang, nil where one of
// them is missing.
func (f *facts) compareSources() *Compared {
	sec := f.tasks.printed
	if sec == nil || len(f.in.Memory) == 0 {
		return nil
	}
	c := agree(f.in.Memory, f.in.MemoryBefore, !f.in.MemoryPartial, sec)
	var said []dump.Ownership
	for _, o := range f.d.Owners {
		if o.End > 0 {
			said = append(said, o)
		}
	}
	c.owners(f.in.Owners, said)
	return c
}

// doubt notes differences that concern the blocked task or the chain to it.
func (f *facts) doubt(out *Diagnosis) {
	if out.Compared == nil {
		return
	}
	for _, d := range out.Compared.Differences {
		if out.Task != nil && out.Task.PID == d.PID || slices.ContainsFunc(out.Chain, func(l Link) bool { return l.PID == d.PID }) {
			out.Notes = append(out.Notes, "memory and sysrq-t differ on this: "+d.String())
			if out.Confidence == Certain {
				out.Confidence = Likely
			}
		}
	}
}
