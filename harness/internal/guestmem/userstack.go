package guestmem

import (
	"context"
	"fmt"
	"slices"

	"github.com/unwedge/unwedge/harness/internal/guestmem/physmem"
	"github.com/unwedge/unwedge/harness/internal/guestmem/tasks"
	"github.com/unwedge/unwedge/harness/internal/guestmem/user"
	"github.com/unwedge/unwedge/harness/internal/model"
)

// UserStack is the user-space stack of one task.
type UserStack struct {
	PID     int
	Comm    string
	Syscall string // "" where the task is in none that is known
	user.Stack
}

// Line is the stack in one line: `systemd(1) → getrandom ← libgcrypt.so.20 ←
// constructor ← ld.so`. PID 1 goes by its program's name: the kernel starts /init,
// whatever that is a link to, and until systemd gives itself a name, that is it.
func (s *UserStack) Line() string {
	name := s.Comm
	if s.PID == 1 && s.Program != "" {
		name = s.Program
	}
	return s.Stack.Line(fmt.Sprintf("%s(%d)", name, s.PID), s.Syscall)
}

// UserFacts are the stacks by PID, in the form that a diagnosis takes.
func UserFacts(stacks []UserStack) map[int]model.UserStack {
	out := map[int]model.UserStack{}
	for i := range stacks {
		s := &stacks[i]
		out[s.PID] = model.UserStack{Line: s.Line(), Frames: s.Lines(), Syscall: s.Syscall, CalledFrom: s.CalledFrom()}
	}
	return out
}

// maxUserStacks bounds how many tasks UserStacks unwinds.
const maxUserStacks = 256

// UserStacks unwinds the user-space stacks of the tasks with these PIDs; nil
// stands for all. What a task is missing is in its Stack's Problems; a task
// without user space, or whose registers are not known, is left out. vcpus
// is as for LookAt, files may be nil. The error is as Look's; problems are those
// of single tasks.
func (k *Kernel) UserStacks(ctx context.Context, m physmem.Reader, vcpus []model.VCPU, files user.Files, pids []int) (stacks []UserStack, problems []string, err error) {
	found, err := k.finder.Find(ctx, m)
	if err != nil {
		return nil, nil, err
	}
	if k, err = k.in(ctx, found, m, len(vcpus)); err != nil {
		return nil, nil, err
	}
	if k.user == nil {
		return nil, nil, k.noUser
	}
	w := &walker{k: k, found: found, list: k.tasks.Read(ctx, found, max(1, len(vcpus))), view: &View{}}
	w.prepare(ctx)
	w.vcpus(vcpus)
	r := k.user.NewReader(found, m, files)
	for i := range w.list.Tasks {
		t := &w.list.Tasks[i]
		if !t.User || t.Kthread() || pids != nil && !slices.Contains(pids, t.PID) {
			continue
		}
		if ctx.Err() != nil || len(stacks) >= maxUserStacks {
			w.view.problem("the user-space stacks of the remaining tasks were not read")
			break
		}
		if s, err := w.userStack(ctx, r, t); err != nil {
			w.view.problem("user-space stack of %s (PID %d): %v", t.Comm, t.PID, err)
		} else if s != nil {
			stacks = append(stacks, *s)
		}
	}
	return stacks, w.view.Problems, nil
}

func (w *walker) userStack(ctx context.Context, r *user.Reader, t *tasks.Task) (*UserStack, error) {
	trace, ok := w.trace(t)
	if !ok || trace.User == nil {
		return nil, nil
	}
	s, err := r.Stack(ctx, t.Addr, trace.User)
	if err != nil {
		return nil, err
	}
	d := model.Task{Frames: frames(trace)}
	w.user(t, trace, &d)
	out := &UserStack{PID: t.PID, Comm: t.Comm, Stack: *s}
	if d.Syscall != nil {
		out.Syscall = d.Syscall.Name
	}
	return out, nil
}
