package user

import (
	"cmp"
	"slices"
	"strings"
)

// kind is what part an object plays in a stack.
type kind byte

const (
	library kind = iota
	program
	libc   // or another library of the C library's own
	loader // ld.so
	none   // the vdso, or no object
)

// vdso is the soname of what the kernel maps itself (arch/*/vdso).
const vdso = "linux-vdso.so.1"

// kind of a frame's object. The names are glibc's and musl's.
func (s *Stack) kind(f Frame) kind {
	switch {
	case f.Object == "" || f.Object[0] == '[' || f.Object == vdso:
		return none
	case f.Object == s.Program:
		return program
	case strings.HasPrefix(f.Object, "ld-linux"), strings.HasPrefix(f.Object, "ld-musl"), strings.HasPrefix(f.Object, "ld64.so"), f.Object == "ld.so":
		return loader
	case strings.HasPrefix(f.Object, "libc.so"), strings.HasPrefix(f.Object, "libc.musl"), strings.HasPrefix(f.Object, "libpthread.so"):
		return libc
	}
	return library
}

// CalledFrom is the library that made the system call: the innermost object
// that is neither the program nor the C library. "" where the program made it
// itself. Frames that are guesses do not count.
func (s *Stack) CalledFrom() string {
	for _, f := range s.Frames {
		if !f.Reliable {
			return ""
		}
		switch s.kind(f) {
		case library:
			return f.Object
		case program:
			return ""
		}
	}
	return ""
}

// Line is the stack in one line, innermost first, for a task and the system
// call it is in, which is "" where it is in none: objects rather than functions,
// each once in a row.
func (s *Stack) Line(task, syscall string) string {
	parts := []string{}
	add := func(p string) {
		if len(parts) == 0 || parts[len(parts)-1] != p {
			parts = append(parts, p)
		}
	}
	for _, f := range s.within() {
		switch s.kind(f) {
		case none:
			continue
		case loader:
			add("ld.so")
		default:
			add(f.Object)
		}
		if f.Constructor {
			add("constructor")
		}
	}
	if syscall == "" {
		return task + " in " + cmp.Or(strings.Join(parts, " ← "), "?")
	}
	return task + " → " + strings.Join(append([]string{syscall}, parts...), " ← ")
}

// within are the frames without those that say nothing: the C library's wrapper
// of the system call, and its start of the program.
func (s *Stack) within() []Frame {
	in := s.Frames
	if i := slices.IndexFunc(in, func(f Frame) bool { k := s.kind(f); return k != libc && k != none }); i > 0 {
		in = in[i:]
	}
	start := len(in)
	for start > 0 && s.kind(in[start-1]) == program {
		start--
	}
	end := start
	for end > 0 && s.kind(in[end-1]) == libc {
		end--
	}
	if end < start && slices.ContainsFunc(in[:end], func(f Frame) bool { return s.kind(f) == program }) {
		in = in[:end]
	}
	return in
}

// Lines are the frames, a line each, and why there are no more.
func (s *Stack) Lines() []string {
	var out []string
	for _, f := range s.Frames {
		out = append(out, f.String())
	}
	if s.End != "" {
		out = append(out, "stops here: "+s.End)
	}
	return out
}
