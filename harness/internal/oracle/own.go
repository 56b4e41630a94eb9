package oracle

import (
	"github.com/unwedge/unwedge/harness/internal/model"

	"bufio"
	"bytes"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/guestmem"
	"github.com/unwedge/unwedge/images/kernel/kallsyms"
)

// Own is what a guest says of one of its tasks in /proc/PID/task/TID.
type Own struct {
	PID, TGID, PPID int
	Comm, State     string
	// Wchan is the function it sleeps in, "0" for one that does not sleep.
	Wchan string
	// Stack is its kernel stack, innermost first, less the scheduler's frames and
	// those of spin locks (kernel/stacktrace.c, stack_trace_consume_entry_nosched).
	Stack []string
}

// Testimony is what a guest says of itself.
type Testimony struct {
	Tasks []Own
	// Self is the process that told it; its tasks are not among Tasks.
	Self int
	// Symbols is its /proc/kallsyms.
	Symbols []byte
}

// NewTestimony reads the files of a guest's testimony.
func NewTestimony(files map[string][]byte) (*Testimony, error) {
	t := &Testimony{Symbols: files["proc/kallsyms"]}
	var err error
	if t.Self, err = strconv.Atoi(string(files["proc/self"])); err != nil {
		return nil, fmt.Errorf("read the guest's /proc/self: %w", err)
	}
	for path, stat := range files {
		dir, ok := strings.CutSuffix(path, "/stat")
		if !ok {
			continue
		}
		o, err := own(string(stat))
		if err != nil {
			return nil, fmt.Errorf("read the guest's /%s: %w", path, err)
		}
		if _, err := fmt.Sscanf(dir, "proc/%d/", &o.TGID); err != nil {
			return nil, fmt.Errorf("read the guest's /%s: %w", path, err)
		}
		o.Wchan = string(files[dir+"/wchan"])
		for line := range strings.Lines(string(files[dir+"/stack"])) {
			_, frame, _ := strings.Cut(strings.TrimSpace(line), "] ")
			o.Stack = append(o.Stack, frame)
		}
		t.Tasks = append(t.Tasks, o)
	}
	slices.SortFunc(t.Tasks, func(a, b Own) int { return a.PID - b.PID })
	return t, nil
}

// own reads the beginning of /proc/PID/stat: 7 (comm) S 1
func own(stat string) (o Own, err error) {
	open, end := strings.Index(stat, "("), strings.LastIndex(stat, ")")
	if open < 0 || end < open {
		return o, fmt.Errorf("%.80q has no name", stat)
	}
	o.Comm = stat[open+1 : end]
	if _, err := fmt.Sscan(stat[:open], &o.PID); err != nil {
		return o, err
	}
	_, err = fmt.Sscan(stat[end+1:], &o.State, &o.PPID)
	return o, err
}

// OwnComparison is what guestmem and the guest itself say of the same tasks.
type OwnComparison struct {
	// Tasks are those that either has; equal ones have the same PID, thread group,
	// parent, name and state.
	Tasks Share
	// Frames are those of sleeping tasks, the longer stack counts. Equal ones have
	// the same function, offset, size and module.
	Frames Share
	// Wchan is the function that a task sleeps in.
	Wchan Share
	// Printed are frames as sysrq-t printed them, a moment after guestmem looked.
	Printed Share
	// Moved is how many tasks are as sysrq-t shows them, and not as they were when
	// the guest told of itself: they have gone on, begun or ended. They are in
	// Printed alone. It counts those that were woken since, too, and have not run yet.
	Moved int
	// Differences say what is not equal.
	Differences []string
}

func (c *OwnComparison) String() string {
	return fmt.Sprintf("tasks %v; frames of /proc/PID/stack %v; /proc/PID/wchan %v; frames of sysrq-t %v; %d tasks moved", c.Tasks, c.Frames, c.Wchan, c.Printed, c.Moved)
}

func (c *OwnComparison) differ(format string, args ...any) {
	c.Differences = append(c.Differences, fmt.Sprintf(format, args...))
}

// CompareOwn holds a view against the guest's own word and against what it printed
// for sysrq-t. skipped are the frames that /proc leaves out, see Scheduler.
func CompareOwn(v *guestmem.View, t *Testimony, printed []model.Task, skipped func(model.Frame) bool) *OwnComparison {
	c := &OwnComparison{}
	later := map[int][]string{}
	ours := map[int]*model.Task{}
	for i := range v.Tasks {
		if task := &v.Tasks[i]; task.PID != 0 { // /proc has no idle tasks
			ours[task.PID] = task
		}
	}
	for _, task := range printed {
		later[task.PID] = nil
		if got := ours[task.PID]; got != nil && !task.Running && !got.Running {
			later[task.PID] = frameLines(task.Chain())
			c.stack(&c.Printed, fmt.Sprintf("PID %d %s, sysrq-t", task.PID, task.Comm), frameLines(got.Chain()), later[task.PID])
		}
	}
	for _, o := range t.Tasks {
		task := ours[o.PID]
		delete(ours, o.PID)
		if task == nil {
			_, goes := later[o.PID]
			c.only(!goes, o.PID, o.Comm, "the guest")
			continue
		}
		c.task(task, o, skipped, later[o.PID])
	}
	for _, task := range ours {
		if task.TGID != t.Self {
			_, goes := later[task.PID]
			c.only(goes, task.PID, task.Comm, "guestmem")
		}
	}
	return c
}

// only counts a task that one of them has; moved says that sysrq-t agrees with
// guestmem.
func (c *OwnComparison) only(moved bool, pid int, comm, who string) {
	if moved {
		c.Moved++
	} else {
		c.Tasks.add(false)
	}
	c.differ("PID %d %s: %s alone has it", pid, comm, who)
}

func (c *OwnComparison) task(t *model.Task, o Own, skipped func(model.Frame) bool, later []string) {
	stack := slices.DeleteFunc(slices.Clone(t.Chain()), skipped)
	moved := !t.Running && !slices.Equal(frameLines(stack), o.Stack) && slices.Equal(frameLines(t.Chain()), later)
	state := o.State
	woken := !moved && !t.Running && t.State == "R" && o.State != "R"
	if moved || woken {
		state = t.State // it ran since, so it may have had another one
	}
	if woken {
		c.Moved++
		c.differ("PID %d %s was woken: it was %s before", t.PID, t.Comm, o.State)
	}
	us := fmt.Sprintf("%d %d %d %q %s", t.PID, t.TGID, t.PPID, t.Comm, t.State)
	them := fmt.Sprintf("%d %d %d %q %s", o.PID, o.TGID, o.PPID, o.shortComm(t.Comm), state)
	c.Tasks.add(us == them)
	if us != them {
		c.differ("PID %d: guestmem %s, the guest %s", t.PID, us, them)
	}
	if t.Running {
		return
	}
	us = strings.Join(frameLines(stack), " ")
	if moved {
		c.Moved++
		c.differ("PID %d %s moved:\n  guestmem and sysrq-t %s\n  the guest before     %s", t.PID, t.Comm, us, strings.Join(o.Stack, " "))
		return
	}
	c.stack(&c.Frames, fmt.Sprintf("PID %d %s", t.PID, t.Comm), frameLines(stack), o.Stack)
	// arm64's get_wchan steps out of the switch before it looks.
	if len(stack) > 1 && stack[0].Func == "__switch_to" {
		stack = stack[1:]
	}
	if len(stack) > 0 && o.Wchan != "0" {
		c.Wchan.add(stack[0].Func == o.Wchan)
		if stack[0].Func != o.Wchan {
			c.differ("PID %d %s sleeps in %s, the guest says in %s", t.PID, t.Comm, stack[0].Func, o.Wchan)
		}
	}
}

// maxComm is the longest name in a task_struct: TASK_COMM_LEN less the NUL.
const maxComm = 15

// shortComm is the name as the task_struct has it, where it begins as real does:
// /proc adds to a kworker's what it works on, and shows the whole of a kernel
// thread's (fs/proc/array.c, proc_task_name).
func (o Own) shortComm(real string) string {
	if strings.HasPrefix(o.Comm, real) && (len(real) == maxComm || strings.HasPrefix(real, "kworker/")) {
		return real
	}
	return o.Comm
}

func (c *OwnComparison) stack(share *Share, who string, ours, theirs []string) {
	for i := range max(len(ours), len(theirs)) {
		share.add(i < len(ours) && i < len(theirs) && ours[i] == theirs[i])
	}
	if !slices.Equal(ours, theirs) {
		c.differ("%s:\n  guestmem  %s\n  the guest %s", who, strings.Join(ours, " "), strings.Join(theirs, " "))
	}
}

func frameLines(frames []model.Frame) []string {
	var out []string
	for _, f := range frames {
		out = append(out, f.Line())
	}
	return out
}

// Scheduler says which frames /proc leaves out: those of the scheduler and of spin
// locks (kernel/sched/core.c, in_sched_functions), by the sections they lie in.
func Scheduler(table *kallsyms.Table) func(model.Frame) bool {
	type span struct{ start, end uint64 }
	var spans []span
	for _, name := range []string{"__sched_text", "__lock_text"} {
		start, ok1 := table.Lookup(name + "_start")
		end, ok2 := table.Lookup(name + "_end")
		if ok1 && ok2 {
			spans = append(spans, span{start, end})
		}
	}
	return func(f model.Frame) bool {
		if f.Module != "" {
			return false
		}
		for _, s := range table.LookupAll(f.Func) {
			if slices.ContainsFunc(spans, func(in span) bool { return s.Addr+f.Off > in.start && s.Addr+f.Off <= in.end }) {
				return true
			}
		}
		return false
	}
}

// CompareSymbols holds the symbols of a kernel's image, moved by kaslr, against the
// guest's /proc/kallsyms, modules' and BPF's left out: the address, type and name of
// all that either has.
func CompareSymbols(image iter.Seq[kallsyms.Symbol], kaslr uint64, procKallsyms []byte) (s Share, differences []string) {
	count := map[kallsyms.Symbol]int{}
	for sym := range image {
		if sym.Addr>>63 == 1 { // those of x86's per-CPU memory begin at 0, and stay there
			sym.Addr += kaslr
		}
		count[sym]++
	}
	for sc := bufio.NewScanner(bytes.NewReader(procKallsyms)); sc.Scan(); {
		if strings.HasSuffix(sc.Text(), "]") {
			continue
		}
		var sym kallsyms.Symbol
		var typ string
		if n, err := fmt.Sscanf(sc.Text(), "%x %s %s", &sym.Addr, &typ, &sym.Name); n < 3 {
			differences = append(differences, fmt.Sprintf("the guest's line %q: %v", sc.Text(), err))
			s.add(false)
			continue
		}
		sym.Type = typ[0]
		equal := count[sym] > 0
		s.add(equal)
		if count[sym]--; !equal {
			differences = append(differences, fmt.Sprintf("%#x %c %s: the guest alone has it", sym.Addr, sym.Type, sym.Name))
		}
	}
	for sym, n := range count {
		for range max(n, 0) {
			s.add(false)
			differences = append(differences, fmt.Sprintf("%#x %c %s: the image alone has it", sym.Addr, sym.Type, sym.Name))
		}
	}
	return s, differences
}
