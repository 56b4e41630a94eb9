package inspect

import (
	"fmt"
	"io"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/guestmem"
	"github.com/unwedge/unwedge/harness/internal/guestmem/user"
)

// UserStack is the user-space stack of a task.
type UserStack struct {
	// Line is the stack in one line: `systemd(1) → getrandom ←
	// libgcrypt.so.20 ← constructor ← ld.so`.
	Line string `json:"line"`
	// CalledFrom is the library that made the system call, "" where the
	// program or its C library did.
	CalledFrom string      `json:"called_from,omitempty"`
	Frames     []UserFrame `json:"frames"` // innermost first
	// End says why there are no more frames, "" where the last is the first
	// function of the thread.
	End string `json:"end,omitempty"`
	// Problems are what could not be read, and why.
	Problems []string `json:"problems,omitempty"`
	// Maps are the process's mappings, as /proc/PID/maps has them but without
	// device and inode.
	Maps []string `json:"maps"`
}

// UserFrame is one function of a program or library.
type UserFrame struct {
	// PC is the program counter, or the return address.
	PC uint64 `json:"pc"`
	// Object is the soname, or the program's file name.
	Object string `json:"object,omitempty"`
	// Path is the object's path in the guest.
	Path string `json:"path,omitempty"`
	// Symbol is the function, empty if the object has no symbol there.
	Symbol string `json:"symbol,omitempty"`
	// Offset is the offset in the function, or in the object if there is no symbol.
	Offset uint64 `json:"offset"`
	// BuildID is the object's GNU build ID in lower-case hex.
	BuildID string `json:"build_id,omitempty"`
	// Constructor says that ld.so calls it when it has loaded the object.
	Constructor bool `json:"constructor,omitempty"`
	// Guess says that the frame may be left over from an earlier call.
	Guess bool `json:"guess,omitempty"`
}

func (f UserFrame) String() string {
	return user.Frame{Object: f.Object, Symbol: f.Symbol, Offset: f.Offset, Constructor: f.Constructor, Reliable: !f.Guess}.String()
}

func userStack(s *guestmem.UserStack) *UserStack {
	out := &UserStack{Line: safe(s.Line()), CalledFrom: safe(s.CalledFrom()), End: safe(s.End), Frames: []UserFrame{}, Maps: []string{}}
	for _, f := range s.Frames {
		out.Frames = append(out.Frames, UserFrame{
			PC: f.PC, Object: safe(f.Object), Path: safe(f.Path), Symbol: safe(f.Symbol), Offset: f.Offset, BuildID: safe(f.BuildID),
			Constructor: f.Constructor, Guess: !f.Reliable,
		})
	}
	for _, m := range s.Mappings {
		out.Maps = append(out.Maps, safe(m.String()))
	}
	for _, p := range s.Problems {
		out.Problems = append(out.Problems, safe(p))
	}
	return out
}

// userStacks writes the user-space stacks, behind those of the kernel, as
// comments: no console has them.
func (r *Report) userStacks(b *strings.Builder) {
	head := "# user-space stacks, innermost function first; ? is a guess\n"
	for _, t := range r.Tasks {
		if t.User == nil {
			continue
		}
		fmt.Fprintf(b, "%s# %s\n", head, t.User.Line)
		head = ""
		for _, f := range t.User.Frames {
			fmt.Fprintf(b, "#     %s\n", f)
		}
		if t.User.End != "" {
			fmt.Fprintf(b, "#     stops here: %s\n", t.User.End)
		}
		for _, p := range t.User.Problems {
			fmt.Fprintf(b, "#     (%s)\n", p)
		}
	}
}

// Maps writes the mappings of the tasks' processes. It returns how many tasks
// had some.
func (r *Report) Maps(w io.Writer) (n int, err error) {
	b := &strings.Builder{}
	for _, t := range r.Tasks {
		if t.User == nil || len(t.User.Maps) == 0 {
			continue
		}
		n++
		fmt.Fprintf(b, "# %s (PID %d)\n%s\n", t.Comm, t.PID, strings.Join(t.User.Maps, "\n"))
	}
	_, err = io.WriteString(w, b.String())
	return n, err
}
