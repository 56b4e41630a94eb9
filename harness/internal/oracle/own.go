package oracle

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/guestmem"
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/images/kernel/kallsyms"
)

// Own is what a guest says about one of its tasks in /proc/PID/task/TID.
type Own struct {
	PID, TGID, PPID int
	Comm, State     string
	// Switches is how often it had been switched away from, of its own will or not,
	// before the rest was read.
	Switches uint64
	// Wchan is the function it sleeps in, "0" for one that does not sleep.
	Wchan string
	// Stack is its kernel stack, innermost first, less the scheduler's frames and
	// those of spin locks (kernel/stacktrace.c, stack_trace_consume_entry_nosched).
	Stack []string
}

// Testimony is what a guest says about itself.
type Testimony struct {
	Tasks []Own
	// Self is the process that reported it; its tasks are not among Tasks.
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
		if o.Switches, err = switches(files[dir+"/status"]); err != nil {
			return nil, fmt.Errorf("read the guest's /%s/status: %w", dir, err)
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

// switches reads how often a task was switched away from out of /proc/PID/status.
func switches(status []byte) (sum uint64, err error) {
	found := 0
	for line := range strings.Lines(string(status)) {
		name, count, _ := strings.Cut(line, ":")
		if name != "voluntary_ctxt_switches" && name != "nonvoluntary_ctxt_switches" {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(count), 10, 64)
		if err != nil {
			return 0, err
		}
		sum += n
		found++
	}
	if found != 2 {
		return 0, errors.New("it does not count context switches")
	}
	return sum, nil
}

// OwnComparison is what guestmem and the guest itself say about the same tasks.
//
// Its sources speak of different moments, and tasks run between them. The kernel
// counts how often it switches away from a task, so a task that is off the CPU at two
// moments with the same count did not run between them: nothing about it may differ.
// A task that ran is counted apart, and only what running cannot change is compared.
type OwnComparison struct {
	// Tasks are those that either has. Equal ones have the same PID and thread
	// group, and, unless they ran, the same parent, name and state.
	Tasks Share
	// Frames are those of sleeping tasks that did not run; the longer stack counts.
	// Equal ones have the same function, offset, size and module.
	Frames Share
	// Wchan is the function that a task sleeps in.
	Wchan Share
	// Printed are the frames that sysrq-t printed for tasks that did not run between
	// the two reads of memory around it.
	Printed Share
	// Still is how many tasks did not run between the guest's word and the look at
	// memory, Ran how many did, were woken to run, began or ended.
	Still, Ran int
	// Differences say what is not equal, and which tasks ran.
	Differences []string
}

func (c *OwnComparison) String() string {
	return fmt.Sprintf("tasks %v; frames of /proc/PID/stack %v; /proc/PID/wchan %v; frames of sysrq-t %v; %d tasks did not run meanwhile, %d did",
		c.Tasks, c.Frames, c.Wchan, c.Printed, c.Still, c.Ran)
}

func (c *OwnComparison) differ(format string, args ...any) {
	c.Differences = append(c.Differences, fmt.Sprintf(format, args...))
}

// Moments are what is known about a guest, in the order of time: its own word, a look
// at its memory, what it printed for sysrq-t, and a second look.
type Moments struct {
	Said    *Testimony
	Seen    *guestmem.View
	Printed []model.Task
	Again   *guestmem.View
}

// CompareOwn holds the first look at memory against what the guest says and prints.
// skipped are the frames that /proc leaves out, see Scheduler.
func CompareOwn(m Moments, skipped func(model.Frame) bool) *OwnComparison {
	c := &OwnComparison{}
	seen, again := byPID(m.Seen.Tasks), byPID(m.Again.Tasks)
	printed := byPID(m.Printed)
	for pid, p := range printed {
		t, then := seen[pid], again[pid]
		if t != nil && then != nil && !p.Running && still(t, t.Switches, then.Switches) && !then.Running {
			c.stack(&c.Printed, fmt.Sprintf("PID %d %s, sysrq-t", pid, p.Comm), frameLines(t.Chain()), frameLines(p.Chain()))
		}
	}
	lives := func(pid int) bool { return printed[pid] != nil || again[pid] != nil }
	last := 0
	for _, o := range m.Said.Tasks {
		last = max(last, o.PID)
		t := seen[o.PID]
		delete(seen, o.PID)
		if t == nil {
			c.only(!lives(o.PID), o.PID, o.Comm, "the guest")
			continue
		}
		c.task(t, o, skipped)
	}
	for pid, t := range seen {
		if t.TGID != m.Said.Self {
			// The kernel gives out PIDs upwards. A new task may have ended again.
			began := printed[pid] != nil || pid > last && again[pid] == nil
			c.only(began, pid, t.Comm, "guestmem")
		}
	}
	return c
}

// byPID leaves out the idle tasks, which /proc does not have.
func byPID(tasks []model.Task) map[int]*model.Task {
	out := map[int]*model.Task{}
	for i := range tasks {
		if t := &tasks[i]; t.PID != 0 {
			out[t.PID] = t
		}
	}
	return out
}

// still says that a task did not run between two moments at which it had been switched
// away from as often as the counts say.
func still(t *model.Task, before, after uint64) bool { return !t.Running && before == after }

// only counts a task that one of them has; ran says that it began or ended meanwhile.
func (c *OwnComparison) only(ran bool, pid int, comm, who string) {
	if ran {
		c.Ran++
	} else {
		c.Tasks.add(false)
	}
	c.differ("PID %d %s: %s alone has it", pid, comm, who)
}

func (c *OwnComparison) task(t *model.Task, o Own, skipped func(model.Frame) bool) {
	ran, woken := !still(t, o.Switches, t.Switches), !t.Running && t.State == "R" && o.State != "R"
	ppid, comm, state := o.PPID, o.shortComm(t.Comm), o.State
	switch {
	case ran:
		ppid, comm, state = t.PPID, t.Comm, t.State
		c.differ("PID %d %s ran: switched away from %d times, then %d", t.PID, t.Comm, o.Switches, t.Switches)
	case woken: // and has not run yet, so its stack is as it was
		state = t.State
		c.differ("PID %d %s was woken: it was %s before", t.PID, t.Comm, o.State)
	}
	if ran || woken {
		c.Ran++
	} else {
		c.Still++
	}
	us := fmt.Sprintf("%d %d %d %q %s", t.PID, t.TGID, t.PPID, t.Comm, t.State)
	them := fmt.Sprintf("%d %d %d %q %s", o.PID, o.TGID, ppid, comm, state)
	c.Tasks.add(us == them)
	if us != them {
		c.differ("PID %d: guestmem %s, the guest %s", t.PID, us, them)
	}
	if ran {
		return
	}
	stack := slices.DeleteFunc(slices.Clone(t.Chain()), skipped)
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
