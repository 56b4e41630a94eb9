package diagnose_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/harness/internal/diagnose"
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/harness/result"
)

// starvedInit is PID 1 asleep in getrandom.
var starvedInit = []model.Task{{
	Comm: "systemd", PID: 1, State: "S", CPU: -1, UserIP: 0x7f0000001010, Syscall: &model.Syscall{Nr: 318, Name: "getrandom"},
	Frames: stack("__schedule", "schedule", "schedule_timeout", "wait_for_random_bytes", "__do_sys_getrandom", "do_syscall_64", "entry_SYSCALL_64_after_hwframe"),
}}

func TestUserStackNamesTheLibrary(t *testing.T) {
	const line = "systemd(1) → getrandom ← libgcrypt.so.20 ← constructor ← ld.so"
	for name, c := range map[string]struct {
		stack    model.UserStack
		pid      int
		evidence bool
		from     bool
	}{
		"a library":              {model.UserStack{Line: line, Frames: []string{"f"}, Syscall: "getrandom", CalledFrom: "libgcrypt.so.20"}, 1, true, true},
		"the program itself":     {model.UserStack{Line: line, Frames: []string{"f"}, Syscall: "getrandom"}, 1, true, false},
		"another task":           {model.UserStack{Line: line, Frames: []string{"f"}, Syscall: "getrandom", CalledFrom: "libgcrypt.so.20"}, 2, false, false},
		"another call meanwhile": {model.UserStack{Line: line, Frames: []string{"f"}, Syscall: "openat", CalledFrom: "libgcrypt.so.20"}, 1, false, false},
		"nothing read":           {model.UserStack{Line: line, Syscall: "getrandom", CalledFrom: "libgcrypt.so.20"}, 1, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			in := diagnose.Input{Dump: parsed(silentBoot), Ending: diagnose.EndingSilent, Memory: starvedInit, User: map[int]model.UserStack{c.pid: c.stack}}
			d := diagnose.Diagnose(in)
			if d.Syscall != "getrandom" || d.Task == nil || d.Task.PID != 1 {
				t.Fatalf("%q, syscall %q, task %+v", d.Title, d.Syscall, d.Task)
			}
			got := slices.ContainsFunc(d.Evidence, func(e result.Evidence) bool {
				return e.Source == "memory" && strings.Contains(e.What, line) && slices.Equal(e.Lines, []string{"f"})
			})
			if got != c.evidence {
				t.Errorf("evidence %v, want %v: %+v", got, c.evidence, d.Evidence)
			}
			if got := strings.Contains(d.Summary, "getrandom(), called from libgcrypt.so.20,"); got != c.from {
				t.Errorf("the summary names the library: %v, want %v: %q", got, c.from, d.Summary)
			}
		})
	}
}
