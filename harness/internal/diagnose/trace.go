package diagnose

import (
	"slices"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/internal/model"
)

// maxDepth bounds how deep the tree of processes is followed, maxJobs how many
// start jobs are compared with each process, so that a hostile dump costs no
// more than its length.
const (
	maxDepth = 64
	maxJobs  = 16
)

// step is how a chain goes on.
type step struct {
	to      *model.Task // nil: it ends
	note    string      // where it had to choose
	assumed bool        // see chain
}

// tracer finds, for each task, the task that it waits for.
type tracer struct {
	*taskSet
	scores map[int]int
	// jobs are the start jobs of the console, squashed; at most maxJobs.
	jobs []string
}

// follow builds the wait chain. Without PID 1 in the dump it starts at the task
// that waits hardest, if there is one that stands out.
func follow(tasks *taskSet, l log) *chain {
	s := &tracer{taskSet: tasks, scores: map[int]int{}}
	jobs := l.Boot.All(dump.EventStartJob)
	for _, e := range jobs[max(0, len(jobs)-maxJobs):] {
		s.jobs = append(s.jobs, squash(e.Subject))
	}
	c := &chain{torn: s.torn}
	t := s.byPID[1]
	if t != nil {
		c.fromInit = true
	} else if t = s.hardest(c); t == nil {
		return c
	}
	if s.old && s.source == sourceState {
		c.notes = append(c.notes, "the task dump predates the last sysrq keys, which yielded none")
	}
	seen := map[int]bool{}
	for t != nil && len(c.tasks) < maxLinks {
		if seen[t.PID] {
			c.ring = len(c.tasks) - slices.IndexFunc(c.tasks, func(o *model.Task) bool { return o.PID == t.PID })
			break
		}
		seen[t.PID] = true
		w, ok := s.waits[t]
		if !ok {
			w = classify(t)
		}
		c.tasks, c.waits = append(c.tasks, t), append(c.waits, w)
		if len(t.Frames) > 0 && !slices.ContainsFunc(t.Frames, func(f model.Frame) bool { return f.Reliable }) {
			c.notes = append(c.notes, "the stack of "+t.String()+" has no reliable frame")
		}
		next := s.next(t, w)
		if next.note != "" {
			c.notes = append(c.notes, next.note)
		}
		c.assumed = c.assumed || next.to != nil && next.assumed
		t = next.to
	}
	if rival := s.rival(c); rival != nil {
		c.notes = append(c.notes, rival.String()+" is also blocked, in "+orUnknown(s.waits[rival].fn)+": it is not known which of them the boot waits for")
	}
	return c
}

// rival is a task of user space that is blocked elsewhere, where a guess led to the
// end of the chain; nil for none. A task in the same function likely waits for the
// same thing.
func (s *tracer) rival(c *chain) *model.Task {
	end, w := c.end()
	if !c.assumed || end == nil {
		return nil
	}
	for _, t := range s.all {
		o := s.waits[t]
		if t.KernelThread || t.PID == 0 || o.hard < 60 || o.fn == w.fn || slices.Contains(c.tasks, t) || isThread(t, process(end)) {
			continue
		}
		return t
	}
	return nil
}

// hardest is the task that waits hardest, in a dump without PID 1 (sysrq-w, hung
// tasks, a torn dump).
func (s *tracer) hardest(c *chain) *model.Task {
	var best *model.Task
	same := 0
	for _, t := range s.all {
		h := s.waits[t].hard
		switch {
		case h < 60:
		case best == nil || h > s.waits[best].hard:
			best, same = t, 0
		case h == s.waits[best].hard:
			same++
		}
	}
	if best != nil {
		c.notes = append(c.notes, "PID 1 is not in the dump, so it is not certain that the boot waits for "+best.String())
		if same > 0 {
			c.notes = append(c.notes, plural(same, "other task is", "other tasks are")+" as likely to block the boot as "+best.String())
		}
	}
	return best
}

// next finds what the task waits for among the tasks.
func (s *tracer) next(t *model.Task, w wait) step {
	if to, known := s.holder(t, w); known {
		return step{to: to}
	}
	if to := s.spawner(t); to != nil {
		return step{to: to}
	}
	switch w.mech {
	case onMutex, onRWSem, onSemaphore:
		return s.owner(t, w)
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

// helps says whether a task is of the kind that others wait for with mechanism m.
func (s *tracer) helps(c *model.Task, m mechanism) bool {
	switch m {
	case onHelper:
		return !c.KernelThread && (c.Comm == "modprobe" || c.Comm == "kmod" || c.Comm == "(modprobe)" || strings.HasPrefix(c.Comm, "kworker/u") && s.waits[c].hard >= 80)
	case onDevtmpfs:
		return c.Comm == "kdevtmpfs"
	}
	return s.waits[c].inModule && s.waits[c].mech != onIdempotent
}

// worker finds the worker whose work item a task waits for; an idle one has none on
// its stack. A worker of asynchronous work or of probes is known by what it runs;
// any other is only likely, even if it is the only busy one.
func (s *tracer) worker(t *model.Task, w wait) step {
	to, note := s.only(func(c *model.Task) bool {
		return c != t && c.KernelThread && c.Has("process_one_work", "async_run_entry_fn", "process_scheduled_works")
	})
	known := to != nil && (w.mech == onAsync && to.Has("async_run_entry_fn") || w.mech == onProbes && s.waits[to].inProbe)
	if to != nil && note == "" && !known {
		note = to.String() + " is the only worker that has work, so " + t.String() + " likely waits for it"
	}
	return step{to: to, note: note}
}

// completer finds the kernel thread that is likely to signal the completion.
func (s *tracer) completer(t *model.Task, w wait) step {
	blocked := func(c *model.Task) bool { return c != t && c.KernelThread && c.State == "D" && s.waits[c].hard >= 80 }
	if w.module != "" { // a driver's own threads are likelier than others
		c, note := s.only(func(c *model.Task) bool { return blocked(c) && s.waits[c].module == w.module })
		if c != nil && note == "" {
			note = c.String() + " is the only other blocked thread in module " + w.module + ", so " + t.String() + " likely waits for it"
		}
		if c != nil {
			return step{to: c, note: note}
		}
	}
	c, note := s.only(blocked)
	what := "the only other blocked kernel thread"
	if note != "" { // of several, those that wait for a completion themselves signal nothing
		c, note = s.only(func(c *model.Task) bool { return blocked(c) && s.waits[c].mech != onCompletion })
		what = "the only blocked kernel thread that does not wait for a completion itself"
	}
	if c == nil || note != "" { // none is known to be the one
		return step{}
	}
	return step{to: c, note: c.String() + " is " + what + ", so " + t.String() + " likely waits for it"}
}

// childByArg follows the PID argument of wait4 and waitid, where x86 printed it. In
// a PID namespace that number differs from the task's, so it counts only for a child
// of the process.
func (s *tracer) childByArg(t *model.Task) *model.Task {
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
	if c == nil || s.parent(c) != process(t) || isThread(c, process(t)) {
		return nil
	}
	return c
}

// only returns the single task that fits; of several the one that waits
// hardest, with a note.
func (s *tracer) only(fits func(*model.Task) bool) (*model.Task, string) {
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

// bestChild returns the child, or the thread unless t waits for a child, below which
// something waits hardest, if that is at least least. It is certain only where it is
// the one child that wait4 can mean.
func (s *tracer) bestChild(t *model.Task, w wait, least int) step {
	var best *model.Task
	bestScore, same, n := -1, 0, 0
	waits := w.mech == onChild || w.mech == onVfork
	for _, c := range s.children[process(t)] {
		cw := s.waits[c]
		if c == t || c.KernelThread || cw.mech == onNothing {
			continue
		}
		if isThread(c, process(t)) && (waits || cw.hard < 60) {
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
		out.note = plural(same, "other child is", "other children are") + " as likely to block the boot as " + best.String()
	}
	return out
}

// score is how likely a task, or anything below it, is to be the blocker.
func (s *tracer) score(t *model.Task) int { return s.scoreAt(t, 0) }

func (s *tracer) scoreAt(t *model.Task, depth int) int {
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

// jobMatches says whether a start job on the console matches a process name.
func (s *tracer) jobMatches(comm string) bool {
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
