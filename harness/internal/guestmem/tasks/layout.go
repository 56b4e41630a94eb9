// Package tasks lists the tasks of a guest from its kernel's memory.
package tasks

import (
	"fmt"

	"github.com/unwedge/unwedge/harness/internal/guestmem/kimage"
	"github.com/unwedge/unwedge/harness/internal/isa"
)

type field = kimage.Field

// Layout is how one kernel lays out what is read here. Made once per image; it
// may be used by many goroutines.
type Layout struct {
	size uint64 // of what is read of a task_struct

	// Fields of task_struct. A Size of 0 means that this kernel has none.
	tasks, threadNode, pid, tgid, comm, state, exitState, flags, stack field
	parent, mm, signal, onCPU, cpu, tiFlags                            field
	sp, fp, pc                                                         field // of the saved context
	worker                                                             field // struct kthread *
	nvcsw, nivcsw                                                      field // how often it was scheduled away

	threadHead  field // of signal_struct
	kthreadData field // of kthread
	currentFunc field // of worker
	currentPWQ  field
	pwqWQ       field // of pool_workqueue
	wqName      field // of workqueue_struct
	idle, curr  field // of rq
	stackSize   uint64
	runqueues   uint64 // link-time address, 0 where not known
	current     uint64 // of the per-CPU pointer to the current task, 0 where there is none
}

// NewLayout reads the image's types. A kernel without a field that no list can
// do without gives an error.
func NewLayout(img *kimage.Image) (*Layout, error) {
	l := &Layout{}
	t := img.Types
	for _, w := range []struct {
		dst  *field
		path []string
	}{
		{&l.tasks, []string{"tasks"}}, {&l.threadNode, []string{"thread_node"}},
		{&l.pid, []string{"pid"}}, {&l.tgid, []string{"tgid"}}, {&l.comm, []string{"comm"}},
		{&l.flags, []string{"flags"}}, {&l.stack, []string{"stack"}},
		{&l.parent, []string{"real_parent"}}, {&l.signal, []string{"signal"}},
	} {
		var err error
		if *w.dst, err = t.Field("task_struct", w.path...); err != nil {
			return nil, fmt.Errorf("list tasks: %w", err)
		}
	}
	var err error
	if l.state, err = t.Field("task_struct", "__state"); err != nil { // since 5.14
		if l.state, err = t.Field("task_struct", "state"); err != nil {
			return nil, fmt.Errorf("list tasks: %w", err)
		}
	}
	if l.threadHead, err = t.Field("signal_struct", "thread_head"); err != nil {
		return nil, fmt.Errorf("list tasks: %w", err)
	}
	l.optional(img)
	if err := l.context(t, img.ISA.Saved); err != nil {
		return nil, err
	}
	for _, f := range []field{
		l.tasks, l.threadNode, l.pid, l.tgid, l.comm, l.state, l.exitState, l.flags, l.stack, l.parent, l.mm,
		l.signal, l.onCPU, l.cpu, l.tiFlags, l.sp, l.fp, l.pc, l.worker, l.nvcsw, l.nivcsw,
	} {
		l.size = max(l.size, f.Off+f.Size)
	}
	if l.size > maxTask || l.tasks.Size != listHead || l.threadNode.Size != listHead || l.threadHead.Size != listHead {
		return nil, fmt.Errorf("list tasks: implausible layout: task_struct of %d bytes, lists of %d, %d and %d", l.size, l.tasks.Size, l.threadNode.Size, l.threadHead.Size)
	}
	return l, nil
}

// listHead is the size of struct list_head.
const listHead = 16

// maxTask bounds how much is read of one task_struct; it has some 10 KiB.
const maxTask = 64 << 10

// context finds the registers that a task saves when it is scheduled away.
func (l *Layout) context(t *kimage.Types, s isa.Saved) (err error) {
	for dst, path := range map[*field][]string{&l.sp: s.SP, &l.fp: s.FP, &l.pc: s.PC} {
		if path == nil {
			continue // on the stack
		}
		if *dst, err = t.Field("task_struct", path...); err != nil {
			return fmt.Errorf("list tasks: %w", err)
		}
	}
	return nil
}

// optional finds what a list can do without.
func (l *Layout) optional(img *kimage.Image) {
	t := img.Types
	first := func(paths ...[]string) field {
		for _, p := range paths {
			if f, err := t.Field(p[0], p[1:]...); err == nil {
				return f
			}
		}
		return field{}
	}
	l.mm = first([]string{"task_struct", "mm"})
	l.exitState = first([]string{"task_struct", "exit_state"})
	l.onCPU = first([]string{"task_struct", "on_cpu"})
	l.cpu = first([]string{"task_struct", "thread_info", "cpu"}, []string{"task_struct", "cpu"})
	l.tiFlags = first([]string{"task_struct", "thread_info", "flags"})
	// Where a kthread keeps its struct kthread: worker_private since 5.17,
	// set_child_tid before (kernel/kthread.c, to_kthread).
	l.worker = first([]string{"task_struct", "worker_private"}, []string{"task_struct", "set_child_tid"})
	l.nvcsw = first([]string{"task_struct", "nvcsw"})
	l.nivcsw = first([]string{"task_struct", "nivcsw"})
	l.kthreadData = first([]string{"kthread", "data"})
	l.currentFunc = first([]string{"worker", "current_func"})
	l.currentPWQ = first([]string{"worker", "current_pwq"})
	l.pwqWQ = first([]string{"pool_workqueue", "wq"})
	l.wqName = first([]string{"workqueue_struct", "name"})
	l.idle = first([]string{"rq", "idle"})
	l.curr = first([]string{"rq", "curr"})
	l.stackSize = stackSize(img)
	l.runqueues = Runqueues(img)
	l.current = current(img)
}

// stackSize is THREAD_SIZE: that of union thread_union where the types have it,
// else the distance from init_stack to the symbol behind it, else 16 KiB, or a
// page where pages are larger (arch/arm64/include/asm/memory.h).
func stackSize(img *kimage.Image) uint64 {
	if n, err := img.Types.Size("thread_union"); err == nil && plausibleStack(n) {
		return n
	}
	if a, ok := img.Symbols.Lookup("init_stack"); ok {
		if n, ok := img.Symbols.Size(a); ok && plausibleStack(n) {
			return n
		}
	}
	return max(16<<10, uint64(1)<<img.PageShift)
}

func plausibleStack(n uint64) bool { return n >= 8<<10 && n <= 128<<10 && n&(n-1) == 0 }

// Runqueues finds the per-CPU struct rq, a link-time address, 0 for none: by name, or as
// what idle_task uses beside __per_cpu_offset (kernel/sched/core.c).
func Runqueues(img *kimage.Image) uint64 {
	if a, ok := img.Lookup("runqueues"); ok {
		return a
	}
	offsets, _ := img.Lookup("__per_cpu_offset")
	for _, fn := range []string{"idle_task", "idle_cpu", "curr_task"} {
		for _, a := range img.Refs(fn) {
			if a != offsets {
				return a
			}
		}
	}
	return 0
}

// current finds the per-CPU pointer to the current task.
func current(img *kimage.Image) uint64 {
	for _, v := range img.ISA.Current {
		a, ok := img.Lookup(v.Name)
		if v.Field == "" && ok {
			return a
		}
		if f, err := img.Types.Field(v.Name, v.Field); err == nil && ok {
			return a + f.Off
		}
	}
	return 0
}
