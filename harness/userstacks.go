package harness

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/diagnose"
	"github.com/unwedge/unwedge/harness/internal/guestmem"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
)

// userStacksTime bounds the reading of all user-space stacks. A distribution's
// are read in some 50 ms.
const userStacksTime = 5 * time.Second

// userStacks reads the user-space stacks of the stalled guest's tasks, which
// does not notice.
func (s *session) userStacks(ctx context.Context, said *result.Memory) []guestmem.UserStack {
	if s.req.UserStacks == nil {
		return nil
	}
	began := time.Now()
	defer func() { said.Took += time.Since(began) }()
	ctx, cancel := context.WithTimeout(ctx, userStacksTime)
	defer cancel()
	var stacks []guestmem.UserStack
	var problems []string
	ram, registers, err := s.ram(ctx)
	if err == nil {
		stacks, problems, err = s.req.UserStacks(ctx, ram, registers)
	}
	if err != nil {
		problems = append(problems, "user-space stacks: "+err.Error())
	}
	said.Problems = append(said.Problems, problems...)
	return stacks
}

// saveUserStacks keeps them behind what the look showed.
func (s *session) saveUserStacks(stacks []guestmem.UserStack) error {
	if len(stacks) == 0 {
		return nil
	}
	var b bytes.Buffer
	b.WriteString("# user-space stacks, innermost function first; ? is a guess\n")
	for i := range stacks {
		st := &stacks[i]
		fmt.Fprintf(&b, "%s\n", console.Sanitize(st.Line()))
		for _, l := range st.Lines() {
			fmt.Fprintf(&b, "    %s\n", console.Sanitize(l))
		}
		for _, p := range st.Problems {
			fmt.Fprintf(&b, "    # %s\n", console.Sanitize(p))
		}
	}
	return appendFile(filepath.Join(s.req.Dir, rundir.Memory), b.Bytes())
}

// userFacts gives the stacks the form that a diagnosis takes.
func userFacts(stacks []guestmem.UserStack) map[int]diagnose.UserStack {
	out := map[int]diagnose.UserStack{}
	for i := range stacks {
		st := &stacks[i]
		out[st.PID] = diagnose.UserStack{Line: st.Line(), Frames: st.Lines(), Syscall: st.Syscall, CalledFrom: st.CalledFrom()}
	}
	return out
}
