package guestmem_test

import (
	"testing"

	"github.com/unwedge/unwedge/harness/internal/guestmem"
	"github.com/unwedge/unwedge/harness/internal/guestmem/user"
)

func TestAUserStackIsNamedByItsTask(t *testing.T) {
	for _, c := range []struct {
		pid           int
		comm, program string
		want          string
	}{
		{1, "init", "systemd", "systemd(1) → getrandom ← libx.so.1"},
		{1, "init", "", "init(1) → getrandom ← libx.so.1"},
		{7, "worker", "daemon", "worker(7) → getrandom ← libx.so.1"},
	} {
		s := guestmem.UserStack{PID: c.pid, Comm: c.comm, Syscall: "getrandom", Stack: user.Stack{
			Program: c.program, Frames: []user.Frame{{Object: "libx.so.1", Reliable: true}},
		}}
		if got := s.Line(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
