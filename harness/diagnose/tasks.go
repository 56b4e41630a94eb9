package diagnose

import (
	"strings"

	"github.com/unwedge/unwedge/harness/dump"
)

// maxDepth bounds how deep the tree of processes is followed, maxJobs how many
// start jobs are compared with each process, so that a hostile dump costs no
// more than its length.
const (
	maxDepth = 64
	maxJobs  = 16
)

// taskSet is the tasks of the last boot, as memory and the last dump show them.
type taskSet struct {
	all      []*dump.Task
	byPID    map[int]*dump.Task
	children map[int][]*dump.Task
	waits    map[*dump.Task]wait
	scores   map[int]int
	// facts are what tasks wait for by memory, by PID.
	facts map[int]*dump.Wait
	// jobs are the start jobs of the console, squashed; at most maxJobs.
	jobs []string
	// source is what leads: "memory", "sysrq-t" or "sysrq-w", "console" for
	// tasks of reports only. from says it for each task.
	source  string
	from    map[*dump.Task]string
	section *dump.Section
	// printed is the sysrq-t of the hang that memory is compared with, asPrinted
	// its tasks by PID.
	printed   *dump.Section
	asPrinted map[int]*dump.Task
	torn      bool
	// swallowed says that a dump was asked for and its tasks did not come.
	swallowed bool
}

// bootStart is where the last boot begins in the log.
func bootStart(d *dump.Dump) int64 {
	if n := len(d.Boot.Kernels); n > 0 {
		return d.Boot.Kernels[n-1].Offset
	}
	return 0
}

func (s *taskSet) add(t *dump.Task, source string) {
	if isDumper(t) {
		return
	}
	s.from[t] = source
	s.all = append(s.all, t)
	if old := s.byPID[t.PID]; old == nil || len(old.Frames) == 0 {
		s.byPID[t.PID] = t
	}
	s.waits[t] = classify(t)
}

// isDumper tells the task that asked for the dump (/proc/sysrq-trigger). One
// that was only interrupted by the key, and in whose context the kernel printed
// the dump, is a task like any other.
func isDumper(t *dump.Task) bool { return dumpsItself(t) && !t.Has(irqFrames...) }

// dumpsItself says that the frames of the dump are on the task's stack.
func dumpsItself(t *dump.Task) bool {
	return t.Has("show_state_filter", "write_sysrq_trigger", "sched_show_task", "sysrq_handle_showstate", "sysrq_handle_showstate_blocked")
}

// irqFrames are in every stack that an interrupt was taken on (kernel/irq/handle.c).
var irqFrames = []string{"handle_irq_event", "handle_irq_event_percpu", "__handle_irq_event_percpu"}

// parent is the PID of the task's parent process. A thread of PID 1 has the
// parent 0 like PID 1 itself; only 6.7 and later print the thread group.
func (s *taskSet) parent(t *dump.Task) int {
	if t.TGID != 0 && t.TGID != t.PID {
		return t.TGID
	}
	if t.PPID == 0 && t.PID > 2 {
		return 1
	}
	return t.PPID
}

// isThread says that t is a thread of process pid.
func isThread(t *dump.Task, pid int) bool {
	if t.TGID != 0 {
		return t.TGID == pid && t.PID != pid
	}
	return pid == 1 && t.PPID == 0 && t.PID > 2
}

// score is how strongly a task or anything below it speaks for being the
// blocker.
func (s *taskSet) score(t *dump.Task) int { return s.scoreAt(t, 0) }

func (s *taskSet) scoreAt(t *dump.Task, depth int) int {
	if v, ok := s.scores[t.PID]; ok {
		return v
	}
	s.scores[t.PID] = 0 // a cycle of parents ends here
	best := s.waits[t].hard
	if depth < maxDepth {
		for _, c := range s.children[t.PID] {
			if c != t {
				best = max(best, s.scoreAt(c, depth+1))
			}
		}
	}
	s.scores[t.PID] = best
	return best
}

// next finds what the task waits for among the tasks, nil if the chain ends
// here. note says when it had to choose.
func (s *taskSet) next(t *dump.Task, w wait, d *dump.Dump) (to *dump.Task, note string) {
	if to, known := s.holder(t, w); known {
		return to, ""
	}
	switch w.mech {
	case onMutex, onRWSem, onSemaphore:
		return s.owner(t, d), ""
	case onHelper:
		return s.only(func(c *dump.Task) bool {
			return c != t && !c.KernelThread && (c.Comm == "modprobe" || c.Comm == "kmod" || c.Comm == "(modprobe)" || strings.HasPrefix(c.Comm, "kworker/u") && s.waits[c].hard >= 80)
		})
	case onDevtmpfs:
		return s.only(func(c *dump.Task) bool { return c != t && c.Comm == "kdevtmpfs" })
	case onAsync, onProbes, onFlush:
		return s.only(func(c *dump.Task) bool { // an idle worker has no work item on its stack
			return c != t && c.KernelThread && c.Has("process_one_work", "async_run_entry_fn", "process_scheduled_works")
		})
	case onCompletion:
		blocked := func(c *dump.Task) bool { return c != t && c.KernelThread && c.State == "D" && s.waits[c].hard >= 80 }
		if w.module != "" { // a driver's own threads are likelier than others
			c, note := s.only(func(c *dump.Task) bool { return blocked(c) && s.waits[c].module == w.module })
			if c != nil && note == "" {
				note = c.String() + " is the only other thread in module " + w.module + " that is blocked, so " + t.String() + " likely waits for it"
			}
			if c != nil {
				return c, note
			}
		}
		c, note := s.only(blocked)
		if c == nil || note != "" { // of several, none is known to be the one
			return nil, ""
		}
		return c, c.String() + " is the only other kernel thread that is blocked, so " + t.String() + " likely waits for it"
	case onIdempotent:
		return s.only(func(c *dump.Task) bool {
			return c != t && s.waits[c].inModule && s.waits[c].mech != onIdempotent
		})
	case onChild, onVfork:
		if c := s.childByArg(t); c != nil {
			return c, ""
		}
		return s.bestChild(t, 0)
	case onPoll:
		if t.PID == 1 {
			return s.bestChild(t, 12)
		}
		return s.bestChild(t, 60)
	case onPipe, onSocket, onFutex, onSignal, onFifo:
		return s.bestChild(t, 15)
	}
	return nil, ""
}

// childByArg follows wait4's and waitid's own argument, where x86 printed it.
func (s *taskSet) childByArg(t *dump.Task) *dump.Task {
	sc := t.Syscall
	if sc == nil || len(sc.Args) < 2 {
		return nil
	}
	pid := 0
	switch sc.Name {
	case "wait4":
		pid = int(int32(sc.Args[0])) // a pid_t in a 64-bit register
	case "waitid":
		if sc.Args[0] == 1 { // P_PID
			pid = int(int32(sc.Args[1]))
		}
	}
	if pid <= 0 || pid == t.PID {
		return nil
	}
	return s.byPID[pid]
}

// owner finds the holder of the lock that t waits for: named by khungtaskd, or
// by lockdep as the only other holder of the same lock.
func (s *taskSet) owner(t *dump.Task, d *dump.Dump) *dump.Task {
	for i := len(d.Owners) - 1; i >= 0; i-- {
		if o := d.Owners[i]; o.WaiterPID == t.PID && o.OwnerPID > 0 {
			if c := s.byPID[o.OwnerPID]; c != nil {
				return c
			}
			return &dump.Task{Comm: o.OwnerComm, PID: o.OwnerPID, State: "?", CPU: -1}
		}
	}
	var want string
	for i := len(d.Held) - 1; i >= 0; i-- {
		if h := d.Held[i]; h.PID == t.PID && len(h.Locks) > 0 {
			want = h.Locks[len(h.Locks)-1].Addr
			break
		}
	}
	if want == "" {
		return nil
	}
	var found *dump.Task
	for i := len(d.Held) - 1; i >= 0; i-- {
		h := d.Held[i]
		if h.PID == t.PID {
			continue
		}
		for j, l := range h.Locks {
			if l.Addr != want {
				continue
			}
			c := s.byPID[h.PID]
			if c == nil || j == len(h.Locks)-1 && isLockWait(s.waits[c].mech) {
				continue // it waits for the lock as well
			}
			if found != nil && found.PID != c.PID {
				return nil // several readers
			}
			found = c
		}
	}
	return found
}

func isLockWait(m mechanism) bool { return m == onMutex || m == onRWSem || m == onSemaphore }

// only returns the single task that fits; of several the one that waits
// hardest, with a note.
func (s *taskSet) only(fits func(*dump.Task) bool) (*dump.Task, string) {
	var best *dump.Task
	n := 0
	for _, c := range s.all {
		if !fits(c) {
			continue
		}
		n++
		if best == nil || s.waits[c].hard > s.waits[best].hard {
			best = c
		}
	}
	if n > 1 {
		return best, plural(n-1, "other task fits", "other tasks fit") + " as well as " + best.String()
	}
	return best, ""
}

// bestChild returns the child (or thread) under which something waits hardest,
// if that is at least least.
func (s *taskSet) bestChild(t *dump.Task, least int) (*dump.Task, string) {
	var best *dump.Task
	bestScore, same := -1, 0
	for _, c := range s.children[t.PID] {
		w := s.waits[c]
		if c == t || c.KernelThread || w.mech == onNothing {
			continue
		}
		if isThread(c, t.PID) && w.hard < 60 {
			continue // idle worker threads are no children
		}
		v := s.score(c)
		if v >= 12 && s.jobMatches(c.Comm) {
			v += 50
		}
		switch {
		case v > bestScore:
			best, bestScore, same = c, v, 0
		case v == bestScore:
			same++
		}
	}
	if best == nil || bestScore < least {
		return nil, ""
	}
	if same > 0 {
		return best, plural(same, "other child waits", "other children wait") + " as hard as " + best.String()
	}
	return best, ""
}

// jobMatches says whether a start job on the console goes with a process name.
func (s *taskSet) jobMatches(comm string) bool {
	name := squash(comm)
	if len(name) < 4 {
		return false
	}
	for _, j := range s.jobs {
		if strings.Contains(j, name) {
			return true
		}
	}
	return false
}

// squash keeps letters and digits in lower case.
func squash(s string) string {
	var b strings.Builder
	for _, c := range strings.ToLower(s) {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
			b.WriteRune(c)
		}
	}
	return b.String()
}
