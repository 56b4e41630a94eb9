package diagnose

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/harness/result"
)

// switched is a task that was scheduled away n times.
func switched(t model.Task, n uint64) model.Task {
	t.Switches = n
	return t
}

// printedAs is what a whole sysrq-t of the tasks says.
func printedAs(tasks ...model.Task) *dump.Section {
	return &dump.Section{Kind: dump.SectionState, Complete: true, Tasks: tasks}
}

func TestAgree(t *testing.T) {
	const pipe, poll = asleep + "pipe_read vfs_read" + syscall, asleep + "do_poll do_sys_poll" + syscall
	init1 := blocked(1, "init", "S", pipe)
	kthreadd := blocked(2, "kthreadd", "S", asleep+"kthreadd ret_from_fork")
	guess := blocked(1, "init", "S", pipe)
	guess.Frames = slices.Insert(guess.Frames, 2, model.Frame{Func: "left_over"})
	torn := blocked(1, "init", "S", asleep)
	torn.Torn = true
	running := blocked(1, "init", "R", "default_idle")
	running.Running = true
	for name, tc := range map[string]struct {
		memory, before, printed []model.Task
		partial                 bool
		agree, moved            int
		differ                  string // WHAT of PID: MEMORY/PRINTED of each
	}{
		"the same":               {memory: []model.Task{init1, kthreadd}, printed: []model.Task{init1, kthreadd}, agree: 2},
		"PID 0 is not printed":   {memory: []model.Task{blocked(0, "swapper/0", "R", ""), init1}, printed: []model.Task{init1}, agree: 1},
		"guesses do not count":   {memory: []model.Task{init1}, printed: []model.Task{guess}, agree: 1},
		"torn stacks do not":     {memory: []model.Task{init1}, printed: []model.Task{torn}, agree: 1},
		"compiler's suffixes":    {memory: []model.Task{blocked(1, "init", "S", strings.ReplaceAll(pipe, "pipe_read", "pipe_read.isra.0"))}, printed: []model.Task{init1}, agree: 1},
		"it runs":                {memory: []model.Task{running}, printed: []model.Task{init1}, moved: 1},
		"a thread of the kernel": {memory: []model.Task{blocked(9, "kworker/0:1", "I", idleWork)}, printed: []model.Task{blocked(9, "kworker/0:1", "D", timed+inWork)}, moved: 1},
		"another stack": {memory: []model.Task{init1}, printed: []model.Task{blocked(1, "init", "S", poll)},
			differ: "stack of 1: " + strings.TrimSpace(pipe) + "/" + strings.TrimSpace(poll)},
		"another state": {memory: []model.Task{init1}, printed: []model.Task{blocked(1, "init", "D", pipe)}, differ: "state of 1: S/D"},
		"it ran in between": {memory: []model.Task{switched(init1, 8)}, before: []model.Task{switched(init1, 7)},
			printed: []model.Task{blocked(1, "init", "S", poll)}, moved: 1},
		"it did not run": {memory: []model.Task{switched(init1, 7)}, before: []model.Task{switched(init1, 7)},
			printed: []model.Task{blocked(1, "init", "D", pipe)}, differ: "state of 1: S/D"},
		"nor did the thread": {memory: []model.Task{switched(kthreadd, 7)}, before: []model.Task{switched(kthreadd, 7)},
			printed: []model.Task{blocked(2, "kthreadd", "D", asleep+"kthreadd ret_from_fork")}, differ: "state of 2: S/D"},
		"born":                        {memory: []model.Task{init1, blocked(77, "sh", "S", pipe)}, printed: []model.Task{init1}, agree: 1, moved: 1},
		"not printed":                 {memory: []model.Task{init1, kthreadd}, printed: []model.Task{init1, blocked(5, "x", "S", pipe)}, agree: 1, moved: 1, differ: "task of 2: there/none"},
		"not printed, and no newborn": {memory: []model.Task{init1, blocked(77, "sh", "S", pipe)}, before: []model.Task{blocked(77, "sh", "S", pipe)}, printed: []model.Task{init1}, agree: 1, differ: "task of 77: there/none"},
		"the dead are not printed":    {memory: []model.Task{init1, blocked(5, "sh", "Z", "")}, printed: []model.Task{init1, blocked(9, "x", "S", pipe)}, agree: 1, moved: 1},
		"ended":                       {memory: []model.Task{init1}, printed: []model.Task{init1, blocked(50, "sh", "S", pipe)}, agree: 1, moved: 1},
		"PID 1 does not end":          {memory: []model.Task{kthreadd}, printed: []model.Task{init1, kthreadd}, agree: 1, differ: "task of 1: none/there"},
		"a list without an end":       {memory: []model.Task{kthreadd}, partial: true, printed: []model.Task{init1, kthreadd}, agree: 1},
	} {
		t.Run(name, func(t *testing.T) {
			c := agree(tc.memory, tc.before, !tc.partial, printedAs(tc.printed...))
			var differ []string
			for _, d := range c.Differences {
				differ = append(differ, fmt.Sprintf("%s of %d: %s/%s", d.What, d.PID, d.Memory, d.Printed))
			}
			if got := strings.Join(differ, "; "); got != tc.differ {
				t.Errorf("differ %q, want %q", got, tc.differ)
			}
			if c.Agree != tc.agree || c.Moved != tc.moved || c.Tasks != c.Agree+len(c.Differences) {
				t.Errorf("of %d, %d agree and %d moved, want %d and %d", c.Tasks, c.Agree, c.Moved, tc.agree, tc.moved)
			}
		})
	}
}

func TestAgreeOnOwners(t *testing.T) {
	memory := []model.Owner{{WaiterPID: 1, Lock: "mutex", OwnerPID: 40}, {WaiterPID: 5, Lock: "mutex", OwnerPID: 6}, {WaiterPID: 7, Lock: "mutex"}}
	printed := []model.Owner{{WaiterPID: 1, Lock: "mutex", OwnerPID: 40, End: 9}, {WaiterPID: 5, Lock: "mutex", OwnerPID: 8, End: 9}, {WaiterPID: 7, Lock: "mutex", OwnerPID: 8, End: 9}}
	var c result.Compared
	compareOwners(&c, memory, printed)
	if c.Owners != 1 || len(c.Differences) != 1 || c.Differences[0].What != "owner" || c.Differences[0].Memory != "PID 6" || c.Differences[0].Printed != "PID 8" {
		t.Errorf("%+v", c)
	}
}

func TestAgreeIsBounded(t *testing.T) {
	var memory, printed []model.Task
	for pid := 1; pid <= 40; pid++ {
		memory = append(memory, blocked(pid, "x", "S", asleep+"pipe_read"))
		printed = append(printed, blocked(pid, "x", "D", asleep+"pipe_read"))
	}
	c := agree(memory, nil, true, printedAs(printed...))
	if len(c.Differences) != maxDifferences || c.More != 40-maxDifferences-1 { // kthreadd's PID is that of a kernel thread
		t.Errorf("%d differences, and %d more", len(c.Differences), c.More)
	}
	if s := c.String(); !strings.Contains(s, "differ (0 of 39 tasks agree)") || !strings.Contains(s, "; 36 more") {
		t.Errorf("%s", s)
	}
}

// A difference on the task that blocks the boot is a reason to doubt.
func TestDifferenceLowersConfidence(t *testing.T) {
	const getrandom = timed + "wait_for_random_bytes __x64_sys_getrandom" + syscall
	m := blocked(1, "init", "S", getrandom)
	for name, tc := range map[string]struct {
		printed model.Task
		want    result.Confidence
	}{
		"they agree":  {blocked(1, "init", "S", getrandom), result.Certain},
		"they do not": {blocked(1, "init", "S", asleep+"pipe_read vfs_read"+syscall), result.Likely},
	} {
		t.Run(name, func(t *testing.T) {
			d := &dump.Dump{Sections: []dump.Section{*printedAs(tc.printed)}}
			got := Diagnose(Input{Dump: d, Memory: []model.Task{m}, Ending: EndingSilent})
			if got.Cause != result.CauseEntropy || got.Confidence != tc.want || got.Compared == nil {
				t.Errorf("%s, %s, compared %+v", got.Cause, got.Confidence, got.Compared)
			}
			if doubts := strings.Contains(strings.Join(got.Notes, "\n"), "memory and sysrq-t differ on this: stack of init (PID 1)"); doubts == (tc.want == result.Certain) {
				t.Errorf("notes %q", got.Notes)
			}
		})
	}
}
