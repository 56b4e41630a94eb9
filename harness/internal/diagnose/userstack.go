package diagnose

import (
	"strings"

	"github.com/unwedge/unwedge/harness/result"
)

// addUserStack adds how user space got to where the blocked task is.
func addUserStack(f facts, out *result.Diagnosis) {
	if out.Task == nil {
		return
	}
	s, ok := f.in.User[out.Task.PID]
	if !ok || len(s.Frames) == 0 || s.Syscall != "" && out.Syscall != "" && s.Syscall != out.Syscall {
		return
	}
	out.Evidence = append(out.Evidence, result.Evidence{
		What: "the user-space stack: " + s.Line, Lines: clipLines(s.Frames), Offset: -1, Source: sourceMemory,
	})
	if s.CalledFrom == "" || s.Syscall == "" {
		return
	}
	if call := s.Syscall + "()"; strings.Contains(out.Summary, call) {
		out.Summary = strings.Replace(out.Summary, call, call+", called from "+s.CalledFrom+",", 1)
	} else {
		out.Summary += "; " + s.Syscall + " was called from " + s.CalledFrom
	}
}
