package diagnose

import (
	"github.com/unwedge/unwedge/harness/internal/model"

	"strings"

	"github.com/unwedge/unwedge/harness/internal/dump"
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
	all      []*model.Task
	byPID    map[int]*model.Task
	children map[int][]*model.Task
	waits    map[*model.Task]wait
	scores   map[int]int
	// facts are what tasks wait for by memory, by PID.
	facts map[int]*model.Wait
	// jobs are the start jobs of the console, squashed; at most maxJobs.
	jobs []string
	// source is what leads: "memory", "sysrq-t" or "sysrq-w", "console" for
	// tasks of reports only. from says it for each task.
	source  string
	from    map[*model.Task]string
	section *dump.Section
	// printed is the sysrq-t of the hang that memory is compared with, asPrinted
	// its tasks by PID.
	printed   *dump.Section
	asPrinted map[int]*model.Task
	torn      bool
	// old says that the dump is of a look before the last keys were sent.
	old bool
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

func (s *taskSet) add(t *model.Task, source string) {
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
func isDumper(t *model.Task) bool { return dumpsItself(t) && !t.Has(irqFrames...) }

// dumpsItself says that the frames of the dump are on the task's stack.
func dumpsItself(t *model.Task) bool {
	return t.Has("show_state_filter", "write_sysrq_trigger", "sched_show_task", "sysrq_handle_showstate", "sysrq_handle_showstate_blocked")
}

// irqFrames are in every stack that an interrupt was taken on (kernel/irq/handle.c).
var irqFrames = []string{"handle_irq_event", "handle_irq_event_percpu", "__handle_irq_event_percpu"}

// parent is the PID of the task's parent process. A thread of PID 1 has the
// parent 0 like PID 1 itself; only 6.7 and later print the thread group.
func (s *taskSet) parent(t *model.Task) int {
	if t.TGID != 0 && t.TGID != t.PID {
		return t.TGID
	}
	if t.PPID == 0 && t.PID > 2 {
		return 1
	}
	if p := s.byPID[t.PPID]; p != nil && p.TGID != 0 {
		return p.TGID // the parent may be any thread of the process
	}
	return t.PPID
}

// isThread says that t is a thread of process pid.
func isThread(t *model.Task, pid int) bool {
	if t.TGID != 0 {
		return t.TGID == pid && t.PID != pid
	}
	return pid == 1 && t.PPID == 0 && t.PID > 2
}

// score is how strongly a task or anything below it speaks for being the
// blocker.
func (s *taskSet) score(t *model.Task) int { return s.scoreAt(t, 0) }

func (s *taskSet) scoreAt(t *model.Task, depth int) int {
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

// next finds what the task waits for among the tasks.
func (s *taskSet) next(t *model.Task, w wait, d *dump.Dump) step {
	if to, known := s.holder(t, w); known {
		return step{to: to}
	}
	switch w.mech {
	case onMutex, onRWSem, onSemaphore:
		return s.owner(t, w, d)
	case onHelper, onDevtmpfs, onIdempotent:
		to, note := s.only(func(c *model.Task) bool { return c != t && s.helps(c, w.mech) })
		return step{to: to, note: note}
	case onAsync, onProbes, onFlush:
		return s.worker(t, w)
	case onCompletion:
		return s.completer(t, w)
	case onChild, onVfork:
		if c := s.childByArg(t); c != nil {
			return step{to: c}
		}
		return s.bestChild(t, w, 0)
	case onPoll:
		if t.PID == 1 {
			return s.bestChild(t, w, 12)
		}
		return s.bestChild(t, w, 60)
	case onPipe, onSocket, onFutex, onSignal, onFifo:
		return s.bestChild(t, w, 15)
	}
	return step{}
}

// helps says that a task is of the kind that others wait for in that way.
func (s *taskSet) helps(c *model.Task, m mechanism) bool {
	switch m {
	case onHelper:
		return !c.KernelThread && (c.Comm == "modprobe" || c.Comm == "kmod" || c.Comm == "(modprobe)" || strings.HasPrefix(c.Comm, "kworker/u") && s.waits[c].hard >= 80)
	case onDevtmpfs:
		return c.Comm == "kdevtmpfs"
	}
	return s.waits[c].inModule && s.waits[c].mech != onIdempotent
}

// worker finds the worker whose work item a task waits for: an idle one has none
// on its stack. That of asynchronous work and of probes is known by what it runs;
// of any other, that it is the only one tells no more than that.
func (s *taskSet) worker(t *model.Task, w wait) step {
	to, note := s.only(func(c *model.Task) bool {
		return c != t && c.KernelThread && c.Has("process_one_work", "async_run_entry_fn", "process_scheduled_works")
	})
	known := to != nil && (w.mech == onAsync && to.Has("async_run_entry_fn") || w.mech == onProbes && s.waits[to].inProbe)
	if to != nil && note == "" && !known {
		note = to.String() + " is the only worker that has work, so " + t.String() + " likely waits for it"
	}
	return step{to: to, note: note}
}

// completer finds the kernel's thread that a completion is likely waited for of.
func (s *taskSet) completer(t *model.Task, w wait) step {
	blocked := func(c *model.Task) bool { return c != t && c.KernelThread && c.State == "D" && s.waits[c].hard >= 80 }
	if w.module != "" { // a driver's own threads are likelier than others
		c, note := s.only(func(c *model.Task) bool { return blocked(c) && s.waits[c].module == w.module })
		if c != nil && note == "" {
			note = c.String() + " is the only other thread in module " + w.module + " that is blocked, so " + t.String() + " likely waits for it"
		}
		if c != nil {
			return step{to: c, note: note}
		}
	}
	c, note := s.only(blocked)
	what := "the only other kernel thread that is blocked"
	if note != "" { // of several, those that wait in the same way end nobody's wait
		c, note = s.only(func(c *model.Task) bool { return blocked(c) && s.waits[c].mech != onCompletion })
		what = "the only blocked kernel thread that does not wait for a completion itself"
	}
	if c == nil || note != "" { // none is known to be the one
		return step{}
	}
	return step{to: c, note: c.String() + " is " + what + ", so " + t.String() + " likely waits for it"}
}

// childByArg follows wait4's and waitid's own argument, where x86 printed it. In a
// PID namespace the number is another one than that of the task: so it counts only
// for a child of the process.
func (s *taskSet) childByArg(t *model.Task) *model.Task {
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
	c := s.byPID[pid]
	if c == nil || s.parent(c) != s.process(t) || isThread(c, s.process(t)) {
		return nil
	}
	return c
}

// owner finds the holder of the lock that t waits for: named by memory or by
// khungtaskd, the latest word first, or by lockdep as the only other holder of the
// same lock. What was said of another boot, of another lock, or of others that had
// the same PIDs does not count.
func (s *taskSet) owner(t *model.Task, w wait, d *dump.Dump) step {
	from := bootStart(d)
	for i := len(d.Owners) - 1; i >= 0; i-- {
		o := &d.Owners[i]
		if o.WaiterPID != t.PID || o.WaiterComm != "" && o.WaiterComm != t.Comm || o.End > 0 && o.Offset < from || !ownsSuch(o, w.mech) {
			continue
		}
		if o.OwnerPID == 0 {
			break // the kernel does not know, whatever it said before
		}
		out := step{to: s.byPID[o.OwnerPID]}
		if out.to == nil || o.OwnerComm != "" && out.to.Comm != o.OwnerComm {
			out.to = &model.Task{Comm: o.OwnerComm, PID: o.OwnerPID, State: "?", CPU: -1}
		}
		switch {
		case w.mech == onSemaphore:
			out.note = "a semaphore does not say who holds it: " + out.to.String() + " is the last that took it"
		case o.End > 0 && out.to.State != "D": // one that sleeps so has not let go since
			out.note = "the kernel says that " + out.to.String() + " likely owns what " + t.String() + " waits for"
		}
		return out
	}
	return step{to: s.lockdepOwner(t, d, from)}
}

// ownsSuch says that an Ownership is of the kind of lock that is waited for.
func ownsSuch(o *model.Owner, m mechanism) bool {
	switch o.Lock {
	case "mutex":
		return m == onMutex
	case "semaphore":
		return m == onSemaphore
	case "rw-semaphore":
		return m == onRWSem
	}
	return true
}

func (s *taskSet) lockdepOwner(t *model.Task, d *dump.Dump, from int64) *model.Task {
	var want string
	for i := len(d.Held) - 1; i >= 0; i-- {
		if h := d.Held[i]; h.PID == t.PID && h.Comm == t.Comm && h.Offset >= from && len(h.Locks) > 0 {
			want = h.Locks[len(h.Locks)-1].Addr
			break
		}
	}
	if want == "" {
		return nil
	}
	var found *model.Task
	for i := len(d.Held) - 1; i >= 0; i-- {
		h := d.Held[i]
		if h.PID == t.PID || h.Offset < from {
			continue
		}
		for j, l := range h.Locks {
			if l.Addr != want {
				continue
			}
			c := s.byPID[h.PID]
			if c == nil || c.Comm != h.Comm || j == len(h.Locks)-1 && isLockWait(s.waits[c].mech) {
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
func (s *taskSet) only(fits func(*model.Task) bool) (*model.Task, string) {
	var best *model.Task
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

// bestChild returns the child (or thread, but of those nobody waits as for a child)
// under which something waits hardest, if that is at least least. It is known to be
// waited for only where it is the one child that wait4 can mean.
func (s *taskSet) bestChild(t *model.Task, w wait, least int) step {
	var best *model.Task
	bestScore, same, n := -1, 0, 0
	waits := w.mech == onChild || w.mech == onVfork
	for _, c := range s.children[s.process(t)] {
		cw := s.waits[c]
		if c == t || c.KernelThread || cw.mech == onNothing {
			continue
		}
		if isThread(c, s.process(t)) && (waits || cw.hard < 60) {
			continue // idle worker threads are no children
		}
		n++
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
		return step{}
	}
	out := step{to: best, assumed: !(waits && n == 1) && !s.jobMatches(best.Comm)}
	if same > 0 {
		out.note = plural(same, "other child waits", "other children wait") + " as hard as " + best.String()
	}
	return out
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
