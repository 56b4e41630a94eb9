package diagnose

import (
	"strconv"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/harness/internal/model"
)

// held is a wait for what a task holds.
func held(pid int, comm, kind, object string, holders ...model.Holder) model.Wait {
	return model.Wait{PID: pid, Comm: comm, Kind: kind, Object: object, Holders: holders}
}

func by(pid int, comm, role string) model.Holder {
	return model.Holder{PID: pid, Comm: comm, State: "S", Role: role}
}

// What memory shows of a wait is reported; it changes neither the title nor the
// signature, unless a holder is what is really blocked.
func TestWaitFacts(t *testing.T) {
	const (
		flock   = asleep + "locks_lock_inode_wait __do_sys_flock __x64_sys_flock" + syscall
		pipe    = asleep + "pipe_read vfs_read ksys_read __x64_sys_read" + syscall
		futex   = asleep + "futex_wait_queue __futex_wait futex_wait do_futex __x64_sys_futex" + syscall
		pause   = asleep + "__do_sys_pause __x64_sys_pause" + syscall
		msleep  = timed + "msleep slow_disk vfs_write ksys_write __x64_sys_write" + syscall
		flush   = completed + "__flush_work flush_work net_init" + initcalls
		working = timed + "msleep slow_work" + inWork
	)
	one := func(stack string) model.Task { return blocked(1, "init", "S", stack) }
	for _, tc := range []struct {
		name  string
		tasks []model.Task
		waits []model.Wait
		same  bool   // as without the facts: title, cause and blocked task
		chain string // the PIDs
		says  []string
	}{
		{"its own lock", []model.Task{one(flock)}, []model.Wait{held(1, "init", "flock", "/tmp/lock", by(1, "init", "holds it"))},
			true, "1", []string{"it waits for a file lock; flock /tmp/lock: the same process holds it"}},
		{"a lock of one that sleeps", []model.Task{one(flock), blocked(9, "owner", "S", pause)}, []model.Wait{held(1, "init", "flock", "/tmp/lock", by(9, "owner", "holds it"))},
			true, "1 9", []string{"flock /tmp/lock: owner (PID 9) holds it"}},
		{"a lock of one that is blocked in the kernel", []model.Task{one(flock), blocked(9, "owner", "D", msleep)}, []model.Wait{held(1, "init", "flock", "/tmp/lock", by(9, "owner", "holds it"))},
			false, "1 9", []string{"init (PID 1) waits for owner (PID 9)"}},
		{"locks of each other", []model.Task{one(flock), blocked(9, "owner", "S", futex)},
			[]model.Wait{held(1, "init", "flock", "/tmp/lock", by(9, "owner", "holds it")), held(9, "owner", "futex", "0x5000", by(1, "init", "owns it"))},
			true, "1 9", []string{"they wait for each other: init (PID 1) → owner (PID 9) → init (PID 1)"}},
		{"its own pipe", []model.Task{one(pipe)}, []model.Wait{held(1, "init", "pipe", "pipe:[7]", by(1, "init", "can write (fd 4)"))},
			true, "1", []string{"pipe:[7]: the same process can write (fd 4)"}},
		{"the pipe of one child among others", []model.Task{one(pipe), blocked(8, "guess", "S", futex), blocked(9, "writer", "S", timed+"do_nanosleep hrtimer_nanosleep __x64_sys_nanosleep"+syscall)},
			[]model.Wait{held(1, "init", "pipe", "pipe:[7]", by(9, "writer", "can write (fd 4)"))},
			false, "1 9", []string{"init (PID 1) waits for writer (PID 9)"}},
		{"a mutex of a thread", []model.Task{one(futex), {PID: 5, TGID: 1, Comm: "init", State: "S", CPU: -1, Frames: one(pause).Frames}},
			[]model.Wait{held(1, "init", "futex", "0x5000", by(5, "init", "owns it"))},
			true, "1 5", []string{"futex 0x5000: init (PID 5) owns it"}},
		{"the work item that is flushed", []model.Task{blocked(1, "swapper/0", "D", flush), blocked(30, "kworker/u4:1", "D", working), blocked(31, "kworker/u4:2", "D", strings.Replace(working, "slow", "other", 1))},
			[]model.Wait{held(1, "swapper/0", "completion", "on the stack of swapper/0 (PID 1)", by(31, "kworker/u4:2", "runs it"))},
			false, "1 31", []string{"other_work"}},
		{"a fact that does not go with the stack", []model.Task{one(pipe), blocked(9, "owner", "D", msleep)}, []model.Wait{held(1, "init", "flock", "/tmp/lock", by(9, "owner", "holds it"))},
			true, "1 9", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := Input{Dump: parsed("[    0.000000] Linux version 6.1.0\n[    1.000000] Run /init as init process\n"), Ending: EndingSilent, Memory: tc.tasks}
			without := Diagnose(in)
			in.Waits = tc.waits
			d := Diagnose(in)
			if same := d.Title == without.Title && d.Signature == without.Signature && d.Cause == without.Cause && *d.Task == *without.Task; same != tc.same {
				t.Errorf("%q, of %+v; without the facts %q, of %+v", d.Title, d.Task, without.Title, without.Task)
			}
			var pids []string
			for _, l := range d.Chain {
				pids = append(pids, strconv.Itoa(l.PID))
			}
			if got := strings.Join(pids, " "); got != tc.chain {
				t.Errorf("chain %s, want %s", got, tc.chain)
			}
			for _, s := range tc.says {
				if !strings.Contains(d.Summary+d.Title, s) {
					t.Errorf("summary %q lacks %q", d.Summary, s)
				}
			}
			shown := false
			for _, e := range d.Evidence {
				shown = shown || strings.HasPrefix(e.What, "what ") && e.Source == "memory" && e.Lines[0] == tc.waits[0].String()
			}
			if shown != (tc.says != nil) {
				t.Errorf("evidence %+v", d.Evidence)
			}
		})
	}
}
