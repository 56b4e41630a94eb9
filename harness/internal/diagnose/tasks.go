package diagnose

import (
	"slices"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/harness/result"
)

// taskSet is the tasks of the last boot, as memory and the last dump show them.
type taskSet struct {
	log      log
	all      []*model.Task
	byPID    map[int]*model.Task
	children map[int][]*model.Task
	waits    map[*model.Task]wait
	// objects are what tasks wait for by memory, by PID.
	objects map[int]*model.Wait
	// source is the source that leads: "memory", "sysrq-t" or "sysrq-w", "console"
	// if only reports show tasks. from is the source of each task.
	source  string
	from    map[*model.Task]string
	section *dump.Section
	// printed is the sysrq-t of the hang that memory is compared with, asPrinted
	// its tasks by PID.
	printed   *dump.Section
	asPrinted map[int]*model.Task
	torn      bool
	// old says that the dump was taken before the last keys were sent.
	old bool
	// swallowed says that a dump was requested and its tasks were not printed.
	swallowed bool
}

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

func process(t *model.Task) int {
	if t.TGID != 0 {
		return t.TGID
	}
	return t.PID
}

// isDumper recognises the task that requested the dump (/proc/sysrq-trigger). One
// that the key merely interrupted, and in whose context the kernel printed the
// dump, is a task like any other.
func isDumper(t *model.Task) bool { return dumpsItself(t) && !t.Has(irqFrames...) }

// dumpsItself says that the frames of the dump are on the task's stack.
func dumpsItself(t *model.Task) bool {
	return t.Has("show_state_filter", "write_sysrq_trigger", "sched_show_task", "sysrq_handle_showstate", "sysrq_handle_showstate_blocked")
}

// irqFrames are in every stack that an interrupt was taken on (kernel/irq/handle.c).
var irqFrames = []string{"handle_irq_event", "handle_irq_event_percpu", "__handle_irq_event_percpu"}

// has says whether a task was seen in a function, in memory or as printed.
func (s *taskSet) has(t *model.Task, fn string) bool {
	p := s.asPrinted[t.PID]
	return t.Has(fn) || p != nil && p.Comm == t.Comm && p.Has(fn)
}

// kindsOf are the kinds of dump.Wait that say more about a mechanism.
var kindsOf = map[mechanism][]string{
	onFutex: {"futex"}, onFileLock: {"flock", "POSIX lock"}, onPipe: {"pipe"}, onSocket: {"socket"}, onFifo: {"FIFO"},
	onCompletion: {"completion"}, onFlush: {"completion"}, onVfork: {"completion"}, onHelper: {"completion"},
	onMutex: {"mutex"}, onRWSem: {"rw-semaphore"}, onSemaphore: {"semaphore"},
	onChild: {"child"}, onIO: {"I/O"}, onPoll: {"poll", "select", "epoll"},
}

// shown is what a task waits for as memory shows it, nil where that is nothing or
// contradicts the stack.
func (s *taskSet) shown(t *model.Task, w wait) *model.Wait {
	f := s.objects[t.PID]
	if f == nil || f.Comm != t.Comm || s.from[t] != sourceMemory || f.Kind != "wait queue" && !slices.Contains(kindsOf[w.mech], f.Kind) {
		return nil
	}
	return f
}

// evidence is the stack of a task.
func (s *taskSet) evidence(t *model.Task) result.Evidence {
	what := "the stack of " + t.String() + ", state " + t.State
	src := s.sourceOf(t)
	if src == sourceMemory {
		return memoryEvidence(what, t)
	}
	return result.Evidence{
		What: what, Offset: t.Offset, Source: src,
		Lines: s.log.Evidence(t.Offset, t.End, t.Caller, maxTaskLines),
	}
}

// sourceOf is where the stack of a task is from.
func (s *taskSet) sourceOf(t *model.Task) string {
	if src, ok := s.from[t]; ok {
		return src
	}
	return sourceConsole
}
