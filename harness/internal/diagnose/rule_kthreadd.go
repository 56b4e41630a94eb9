package diagnose

import (
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/harness/result"
)

// kthreadd is PID 2, which creates all threads of the kernel (kernel/kthread.c).
const kthreadd = 2

// spawner is kthreadd, for a task that waits until it has created a thread; nil for
// others.
func (s *tracer) spawner(t *model.Task) *model.Task {
	to := s.byPID[kthreadd]
	if to == nil || to == t || !t.Has("__kthread_create_on_node", "kthread_create_on_node", "__kthread_create_worker", "__kthread_create_worker_on_node") || t.State == "R" {
		return nil
	}
	return to
}

// kthreaddAsleep: a task waits for a new thread, and kthreadd sleeps although the
// request is in its list: nobody woke it.
func kthreaddAsleep(f facts) *result.Diagnosis {
	if f.end == nil || f.end.PID != kthreadd || f.end.State == "R" || len(f.chain.tasks) < 2 {
		return nil
	}
	// It sleeps in its own loop, and in nothing that it called there.
	if chain := f.end.Chain(); f.wait.fn != "kthreadd" && (len(chain) == 0 || !f.end.Has("kthreadd") || f.end.Has("create_kthread", "kernel_clone", "kernel_thread", "_do_fork")) {
		return nil
	}
	asks := f.chain.tasks[len(f.chain.tasks)-2]
	out := hang(f, result.CauseKernelWait, result.WhereKernel, result.Likely)
	out.Function = "kthreadd"
	out.Title = "hang: kthreadd was not woken to create a thread"
	out.Summary = asks.String() + " waits until kthreadd (PID 2) has created a thread, and kthreadd sleeps: it was never woken, or its wake-up was lost"
	out.Remedy = "look at the wake-up of kthreadd in __kthread_create_on_node (wake_up_process) and at the scheduler: the request is made, and nobody takes it"
	return out
}
