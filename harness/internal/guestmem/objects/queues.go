package objects

import (
	"fmt"
	"strconv"

	"github.com/unwedge/unwedge/harness/internal/guestmem/tasks"
	"github.com/unwedge/unwedge/harness/internal/model"
)

// maxTries bounds how many words of a stack are taken for an entry's, maxQueue
// how far a queue is followed.
const (
	maxTries = 64
	maxQueue = 1 << 10
)

func hex(v uint64) string { return "0x" + strconv.FormatUint(v, 16) }

func decimal(v int) string { return strconv.Itoa(v) }

func who(t *tasks.Task) string { return fmt.Sprintf("%s (PID %d)", t.Comm, t.PID) }

// linked says that a list's node has neighbours that point back to it.
func (g *Guest) linked(node uint64) bool {
	next, ok1 := g.raw(node)
	prev, ok2 := g.raw(node + 8)
	if !ok1 || !ok2 || next == node {
		return false
	}
	back, ok1 := g.raw(next + 8)
	forth, ok2 := g.raw(prev)
	return ok1 && ok2 && back == node && forth == node
}

// head follows a list from a node to its head, which is the one node that is no
// entry.
func (g *Guest) head(node uint64, entry func(node uint64) bool) (uint64, bool) {
	at, ok := g.raw(node)
	for range maxQueue {
		if !ok || at == node {
			return 0, false
		}
		if back, read := g.raw(at + 8); !read || back == 0 {
			return 0, false
		}
		if !entry(at) {
			return at, true
		}
		at, ok = g.raw(at)
	}
	return 0, false
}

// completion finds the completion that a task waits for: by the struct
// swait_queue on its stack (kernel/sched/completion.c). It is not done yet.
func (g *Guest) completion(t *tasks.Task, stack []byte) (uint64, bool) {
	l := g.l
	if !l.has("swait_queue.task", "swait_queue.task_list", "swait_queue_head.task_list", "completion.wait", "completion.done") {
		return 0, false
	}
	toList := l.off("swait_queue.task_list") - l.off("swait_queue.task")
	entry := func(node uint64) bool {
		task, ok := g.raw(node - toList)
		if !ok {
			return false
		}
		on := g.list.Find(task)
		return on != nil && on.Holds(node)
	}
	for _, at := range words(t, stack, t.Addr, maxTries) {
		node := at + toList
		if !t.Holds(node+15) || !g.linked(node) {
			continue
		}
		head, ok := g.head(node, entry)
		if !ok {
			continue
		}
		c := head - l.off("swait_queue_head.task_list") - l.off("completion.wait")
		if done, ok := g.word(c, "completion.done"); ok && done == 0 {
			return c, true
		}
	}
	return 0, false
}

// complete says who has to do with a completion: the child that has not started
// a program yet, the thread that has not ended, the worker whose work item is
// flushed.
func (g *Guest) complete(w *model.Wait, c uint64) {
	w.Kind, w.Addr, w.Object = "completion", c, g.Name(c)
	if t := g.finishes(c); t != nil {
		role := "has neither ended nor started a program (vfork)"
		if t.Kthread() {
			role = "has not ended"
		}
		w.Hold(holder(t, role))
		return
	}
	if t := g.flushed(c); t != nil {
		w.Detail = "the end of a work item"
		w.Hold(holder(t, "runs it"))
	}
}

// flushed finds the worker that a struct wq_barrier has been queued to
// (kernel/workqueue.c, insert_wq_barrier): nil for a completion that is none's.
func (g *Guest) flushed(c uint64) *tasks.Task {
	l := g.l
	if !l.has("wq_barrier.work", "wq_barrier.done", "work_struct.entry", "worker.scheduled") || g.list.Holding(c) == nil {
		return nil
	}
	node := c - l.off("wq_barrier.done") + l.off("wq_barrier.work") + l.off("work_struct.entry")
	for i := range g.list.Tasks {
		t := &g.list.Tasks[i]
		worker, ok := g.tl.Worker(g.k, t)
		if !ok {
			continue
		}
		found := false
		g.each(worker+l.off("worker.scheduled"), 0, maxQueue, func(at uint64) bool {
			found = at == node
			return !found
		})
		if found {
			return t
		}
	}
	return nil
}

// queued is an entry of a wait queue on a task's stack.
type queued struct {
	entry uint64 // of the struct wait_queue_entry
	wakes string // its function
	head  uint64 // of the struct wait_queue_head
}

// queues finds the wait queues that a task is on: by the entries on its stack
// that name it, have a function, and are linked.
func (g *Guest) queues(t *tasks.Task, stack []byte) []queued {
	l := g.l
	if !l.has("wait_queue_entry.private", "wait_queue_entry.func", "wait_queue_entry.entry", "wait_queue_head.head") {
		return nil
	}
	toFunc := l.off("wait_queue_entry.entry") - l.off("wait_queue_entry.func")
	calls := func(node uint64) bool {
		fn, ok := g.raw(node - toFunc)
		if !ok {
			return false
		}
		_, ok = g.function(fn)
		return ok
	}
	var out []queued
	for _, at := range words(t, stack, t.Addr, maxTries) {
		entry := at - l.off("wait_queue_entry.private")
		node := entry + l.off("wait_queue_entry.entry")
		if !t.Holds(entry) || !t.Holds(node+15) || !calls(node) || !g.linked(node) {
			continue
		}
		head, ok := g.head(node, calls)
		if !ok {
			continue
		}
		fn, _ := g.raw(node - toFunc) // as in calls
		name, _ := g.function(fn)
		out = append(out, queued{entry: entry, wakes: name, head: head - l.off("wait_queue_head.head")})
	}
	return out
}

// on says whether a task is on a wait queue.
func on(qs []queued, head uint64) bool {
	for _, q := range qs {
		if q.head == head {
			return true
		}
	}
	return false
}
