package tasks

import "github.com/unwedge/unwedge/harness/internal/guestmem/locate"

// Work returns what a kworker is doing, as the kernel prints it behind
// "Workqueue: " (kernel/workqueue.c, print_worker_info): the queue's name, and
// the function by sym. "" for a task that is no worker or has no work.
func (l *Layout) Work(k *locate.Kernel, t *Task, sym func(uint64) string) string {
	worker, ok := l.Worker(k, t)
	if !ok || l.currentFunc.Size != 8 {
		return ""
	}
	fn, err := k.Space.Uint64(worker + l.currentFunc.Off)
	if err != nil || fn == 0 {
		return ""
	}
	return l.queue(k, worker) + " " + sym(fn)
}

// Worker returns the address of a kworker's struct worker; ok is false for a task
// that is none.
func (l *Layout) Worker(k *locate.Kernel, t *Task) (addr uint64, ok bool) {
	if t.Flags&flagWorker == 0 || !t.Kthread() || t.worker == 0 {
		return 0, false
	}
	worker, err := k.Space.Uint64(t.worker + l.kthreadData.Off)
	return worker, err == nil && worker != 0
}

// queue is the name of the workqueue whose work a worker does.
func (l *Layout) queue(k *locate.Kernel, worker uint64) string {
	const unknown = "?"
	if l.currentPWQ.Size != 8 || l.pwqWQ.Size != 8 || l.wqName.Size == 0 {
		return unknown
	}
	pwq, err := k.Space.Uint64(worker + l.currentPWQ.Off)
	if err != nil {
		return unknown
	}
	wq, err := k.Space.Uint64(pwq + l.pwqWQ.Off)
	if err != nil {
		return unknown
	}
	b := make([]byte, min(l.wqName.Size, 64))
	if err := k.Space.Read(wq+l.wqName.Off, b); err != nil {
		return unknown
	}
	if s, ok := name(b); ok && s != "" {
		return s
	}
	return unknown
}
