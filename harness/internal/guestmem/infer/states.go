package infer

import (
	"strings"

	"github.com/unwedge/unwedge/harness/internal/guestmem/tasks"
)

// flagKthread is PF_KTHREAD (include/linux/sched.h).
const flagKthread = 0x00200000

// The states that a task may have, and what may come with them (include/linux/sched.h,
// TASK_*): nothing above 0xffff, and of the low bits at most one.
const (
	maxState = 0xffff
	oneOf    = 0x7f
)

// states finds task_struct.__state and flags, which stand around stack: the state, in
// eight bytes before it, and behind it a reference count and the flags (include/linux/
// sched.h, in this order since 4.16).
func (g *guess) states() error {
	stack := g.out["task_struct.stack"].Off
	state, flags := stack-word, stack+word+4
	if stack < word {
		return unknown("there is no room for a state")
	}
	asleep := 0
	for _, t := range g.all {
		s := t.half(state)
		if low := s & oneOf; s > maxState || low&(low-1) != 0 {
			return unknown("%#x is no state", s)
		}
		if s != 0 {
			asleep++
		}
		kthread := t.half(flags)&flagKthread != 0
		parent := g.known[t.at(g.realParent)]
		if must := t == g.init || g.pid(t) == 2 || g.pid(parent) == 2; must && !kthread || g.pid(t) > 2 && !must && kthread && g.pid(parent) != 0 {
			return unknown("the flags of PID %d are not those of what it is", g.pid(t))
		}
		if u := t.half(stack + word); u == 0 || u > 1<<16 { // task_struct.usage
			return unknown("PID %d has %d references", g.pid(t), u)
		}
	}
	if asleep == 0 || g.init.half(state) != 0 {
		return unknown("no task sleeps, or init_task does")
	}
	g.set("task_struct.__state", state, 4)
	g.set("task_struct.flags", flags, 4)
	return nil
}

func (g *guess) kthread(t *task) bool {
	return t.half(g.out["task_struct.flags"].Off)&flagKthread != 0
}

// addressSpaces finds task_struct.mm and active_mm, which follows it: equal in each user
// task, and the first is missing in kernel threads. Before there is a user task it stays
// unknown.
func (g *guess) addressSpaces() {
	var found []uint64
	for off := g.out["task_struct.tasks"].Off; off < g.realParent; off += word {
		if g.areSpaces(off) {
			found = append(found, off)
		}
	}
	if len(found) == 1 {
		g.set("task_struct.mm", found[0], word)
		g.set("task_struct.active_mm", found[0]+word, word)
	}
}

func (g *guess) areSpaces(off uint64) bool {
	user := 0
	for _, t := range g.all {
		mm, active := t.at(off), t.at(off+word)
		switch {
		case g.kthread(t):
			if mm != 0 {
				return false
			}
		case mm != 0:
			if mm>>63 == 0 || mm != active || mm&7 != 0 {
				return false
			}
			user++
		}
	}
	return user > 0
}

// sigchld is what the parent of a task gets when it ends.
const sigchld = 17

// exits finds task_struct.exit_state: three numbers, of which the second is 0 in living
// tasks and the third is SIGCHLD in kernel threads and -1 in threads that are no leader.
func (g *guess) exits() {
	var found []uint64
	for off := g.out["task_struct.tasks"].Off; off < g.realParent; off += 4 {
		if g.areExits(off) {
			found = append(found, off)
		}
	}
	if len(found) == 1 {
		g.set("task_struct.exit_state", found[0], 4)
	}
}

func (g *guess) areExits(off uint64) bool {
	const zombie, dead = 0x20, 0x10
	threads := 0
	for _, t := range g.all {
		state, signal := t.half(off), t.half(off+8)
		if state != 0 && state != zombie && state != dead || state == 0 && t.half(off+4) > maxState {
			return false
		}
		switch {
		case t != t.leader:
			if int32(signal) != -1 {
				return false
			}
		case g.pid(t) == 2, g.pid(g.known[t.at(g.realParent)]) == 2:
			threads++
			if signal != sigchld {
				return false
			}
		case signal > 64:
			return false
		}
	}
	return threads > 0 && g.init.half(off+8) == 0
}

// runqueue finds rq.curr, idle and stop, which follow each other (kernel/sched/sched.h):
// of CPU 0, idle is init_task, stop is migration/0 or not there yet, and curr is a task.
func (g *guess) runqueue() {
	link := tasks.Runqueues(g.k.Image)
	if link == 0 {
		return
	}
	at, err := g.k.PerCPU(link, 0)
	if err != nil {
		return
	}
	const size = 8 << 10
	b := make([]byte, size)
	if g.k.Space.Read(at, b) != nil {
		return
	}
	rq := &task{b: b}
	var found []uint64
	for off := uint64(word); off+2*word <= size; off += word {
		if rq.at(off) == g.init.addr && g.known[rq.at(off-word)] != nil && g.stops(rq.at(off+word)) {
			found = append(found, off)
		}
	}
	if len(found) == 0 { // in 7.x stop is elsewhere
		for off := uint64(word); off+word <= size; off += word {
			if rq.at(off) == g.init.addr && g.known[rq.at(off-word)] != nil {
				found = append(found, off)
			}
		}
	}
	if len(found) == 1 {
		g.set("rq.curr", found[0]-word, word)
		g.set("rq.idle", found[0], word)
	}
}

// stops says that a pointer may be that to a CPU's stopper thread (kernel/stop_machine.c).
func (g *guess) stops(addr uint64) bool {
	var stopper bool
	for _, t := range g.all {
		if name := string(t.b[g.comm : g.comm+commSize]); strings.HasPrefix(name, "migration/0\x00") {
			stopper = true
			if t.addr == addr {
				return true
			}
		}
	}
	return !stopper && addr == 0
}

// constants adds what has been the same in all kernels since 5.10, where a reader makes
// sure of it: a timer by the function that it calls and the task that it wakes
// (kernel/time/timer.c, hrtimer.c).
func constants(out map[string]field) {
	for name, off := range map[string]uint64{
		"process_timer.timer.expires": 16, "process_timer.timer.function": 24, "process_timer.task": 40,
		"hrtimer_sleeper.timer.node.expires": 24, "hrtimer_sleeper.timer.function": 40, "hrtimer_sleeper.task": 64,
	} {
		out[name] = field{Off: off, Size: word}
	}
}
