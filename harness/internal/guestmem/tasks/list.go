package tasks

import (
	"context"
	"errors"
	"fmt"

	"github.com/unwedge/unwedge/harness/internal/guestmem/locate"
)

// MaxTasks bounds a list.
const MaxTasks = 1 << 16

// maxProblems bounds the problems that a list reports.
const maxProblems = 16

// List is the tasks of a guest.
type List struct {
	Tasks []Task // init_task first, then in the kernel's order, then idle tasks
	// Problems say what could not be read.
	Problems []string
	// Complete says that the list of processes was read to its end.
	Complete bool

	byAddr map[uint64]int
}

// Read lists every thread, and the idle tasks of the first cpus CPUs. Before
// the scheduler runs there is init_task only. A damaged list gives what can be
// reached from its two ends.
func (l *Layout) Read(ctx context.Context, k *locate.Kernel, cpus int) *List {
	r := &reader{l: l, k: k, ctx: ctx, out: &List{byAddr: map[uint64]int{}}, byPID: map[uint64]int{}}
	init, ok := k.Addr("init_task")
	if !ok || !r.add(init, true) {
		r.problem(errors.New("init_task cannot be read"))
		return r.out
	}
	r.out.Complete = r.processes(init, false)
	if !r.out.Complete {
		r.processes(init, true)
	}
	for cpu := range min(cpus, maxCPUs) {
		if a, ok := r.idle(cpu); ok {
			r.add(a, true)
		}
	}
	r.parents()
	return r.out
}

// maxCPUs bounds the idle tasks.
const maxCPUs = 512

// Find returns the task whose task_struct is at an address.
func (l *List) Find(addr uint64) *Task {
	if i, ok := l.byAddr[addr]; ok {
		return &l.Tasks[i]
	}
	return nil
}

// Holding returns the task whose kernel stack holds an address.
func (l *List) Holding(addr uint64) *Task {
	for i := range l.Tasks {
		if l.Tasks[i].Holds(addr) {
			return &l.Tasks[i]
		}
	}
	return nil
}

type reader struct {
	l     *Layout
	k     *locate.Kernel
	ctx   context.Context
	out   *List
	byPID map[uint64]int // address of a task to its pid
}

func (r *reader) problem(err error) {
	if len(r.out.Problems) < maxProblems {
		r.out.Problems = append(r.out.Problems, err.Error())
	}
}

// add reads a task that is not in the list yet. false: it was not read.
func (r *reader) add(addr uint64, idle bool) bool {
	if _, ok := r.out.byAddr[addr]; ok {
		return true
	}
	if len(r.out.Tasks) >= MaxTasks {
		return false
	}
	t, err := r.l.read(r.k, addr)
	if err != nil {
		r.problem(err)
		return false
	}
	t.Idle = idle
	r.out.byAddr[addr] = len(r.out.Tasks)
	r.out.Tasks = append(r.out.Tasks, t)
	return true
}

// processes follows init_task.tasks, forwards or backwards, and adds each
// process with its threads. It returns whether it came to the end.
func (r *reader) processes(init uint64, back bool) bool {
	seen := map[uint64]bool{init: true}
	for at := init; ; {
		t := r.out.Find(at)
		node := t.next
		if back {
			node = t.prev
		}
		at = node - r.l.tasks.Off
		switch {
		case at == init:
			return true
		case seen[at]:
			r.problem(fmt.Errorf("the list of processes is circular at %#x", at))
			return false
		case r.ctx.Err() != nil || len(r.out.Tasks) >= MaxTasks:
			r.problem(fmt.Errorf("more than %d tasks", len(r.out.Tasks)))
			return false
		case !r.add(at, false):
			return false
		}
		seen[at] = true
		r.threads(at)
	}
}

// threads adds the threads of a process: signal->thread_head.
func (r *reader) threads(leader uint64) {
	t := *r.out.Find(leader)
	if t.signal == 0 { // a dead one
		return
	}
	head := t.signal + r.l.threadHead.Off
	seen := map[uint64]bool{}
	for node := t.nextThread; node != head; {
		at := node - r.l.threadNode.Off
		if seen[at] {
			r.problem(fmt.Errorf("the list of threads of %s (PID %d) is circular", t.Comm, t.PID))
			return
		}
		seen[at] = true
		if len(r.out.Tasks) >= MaxTasks || r.ctx.Err() != nil || node == t.signal || !r.add(at, false) {
			return
		}
		node = r.out.Find(at).nextThread
	}
}

// parents fills in PPID.
func (r *reader) parents() {
	for i := range r.out.Tasks {
		t := &r.out.Tasks[i]
		if p := r.out.Find(t.parent); p != nil {
			t.PPID = p.PID
		}
	}
}

func (r *reader) idle(cpu int) (uint64, bool) { return r.l.rq(r.k, cpu, r.l.idle) }

// rq reads a pointer of a CPU's struct rq. false where it is not set yet.
func (l *Layout) rq(k *locate.Kernel, cpu int, f field) (uint64, bool) {
	if l.runqueues == 0 || f.Size != 8 {
		return 0, false
	}
	a, err := k.PerCPU(l.runqueues, cpu)
	if err != nil {
		return 0, false
	}
	v, err := k.Space.Uint64(a + f.Off)
	return v, err == nil && v != 0
}

// Current returns the address of the task that a CPU runs, as the kernel has
// it: its own pointer where there is one, else that of the scheduler. Before the
// scheduler is set up, CPU 0 runs init_task.
func (l *Layout) Current(k *locate.Kernel, cpu int) (uint64, bool) {
	if l.current != 0 {
		if a, err := k.PerCPU(l.current, cpu); err == nil {
			if v, err := k.Space.Uint64(a); err == nil && v != 0 {
				return v, true
			}
		}
	}
	if v, ok := l.rq(k, cpu, l.curr); ok {
		return v, true
	}
	if cpu == 0 {
		return k.Addr("init_task")
	}
	return 0, false
}
