package user_test

import (
	"testing"

	"github.com/unwedge/unwedge/harness/internal/guestmem/user"
)

// frames are reliable ones of the objects; one that ends in ! is a
// constructor's, one that begins with ? a guess.
func frames(objects ...string) []user.Frame {
	var out []user.Frame
	for _, o := range objects {
		f := user.Frame{Object: o, Reliable: true}
		if o[0] == '?' {
			f.Object, f.Reliable = o[1:], false
		}
		if n := len(f.Object) - 1; f.Object[n] == '!' {
			f.Object, f.Constructor = f.Object[:n], true
		}
		out = append(out, f)
	}
	return out
}

func TestLine(t *testing.T) {
	for _, c := range []struct {
		name   string
		frames []user.Frame
		line   string
		from   string
	}{
		{
			"the hang of 2018", frames("libc.so.6", "libgcrypt.so.20", "libgcrypt.so.20", "libgcrypt.so.20!", "ld-linux-x86-64.so.2", "ld-linux-x86-64.so.2"),
			"p(1) → getrandom ← libgcrypt.so.20 ← constructor ← ld.so", "libgcrypt.so.20",
		},
		{
			"a library of the program's", frames("libc.so.6", "libx.so.1", "p", "p", "libc.so.6", "libc.so.6", "p"),
			"p(1) → getrandom ← libx.so.1 ← p", "libx.so.1",
		},
		{"the program itself", frames("libc.so.6", "p", "libc.so.6", "p"), "p(1) → getrandom ← p", ""},
		{"static", frames("p", "p"), "p(1) → getrandom ← p", ""},
		{"through the vdso", frames("[vdso]", "libc.so.6", "p"), "p(1) → getrandom ← p", ""},
		{"a thread", frames("libc.so.6", "libx.so.1", "libc.so.6", "libc.so.6"), "p(1) → getrandom ← libx.so.1 ← libc.so.6", "libx.so.1"},
		{"a call back", frames("libc.so.6", "p", "libx.so.1", "p", "libc.so.6", "p"), "p(1) → getrandom ← p ← libx.so.1 ← p", ""},
		{"guesses name nobody", frames("libc.so.6", "?libx.so.1", "?p"), "p(1) → getrandom ← libx.so.1 ← p", ""},
		{"the C library alone", frames("libc.so.6", "libc.so.6"), "p(1) → getrandom ← libc.so.6", ""},
		{"nothing", nil, "p(1) → getrandom", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := user.Stack{Frames: c.frames, Program: "p"}
			if got := s.Line("p(1)", "getrandom"); got != c.line {
				t.Errorf("line %q, want %q", got, c.line)
			}
			if got := s.CalledFrom(); got != c.from {
				t.Errorf("called from %q, want %q", got, c.from)
			}
		})
	}
}

func TestLineWithoutSyscall(t *testing.T) {
	s := user.Stack{Frames: frames("libx.so.1", "p", "libc.so.6", "p"), Program: "p"}
	if got, want := s.Line("p(1)", ""), "p(1) in libx.so.1 ← p"; got != want {
		t.Errorf("line %q, want %q", got, want)
	}
}

func TestFrameString(t *testing.T) {
	for want, f := range map[string]user.Frame{
		"libx.so.1+0x1234":                    {Object: "libx.so.1", Offset: 0x1234, Reliable: true},
		"libx.so.1: fn+0x10":                  {Object: "libx.so.1", Symbol: "fn", Offset: 0x10, Reliable: true},
		"libx.so.1: seed+0x10 (constructor)":  {Object: "libx.so.1", Symbol: "seed", Offset: 0x10, Constructor: true, Reliable: true},
		"? ?+0x10":                            {Offset: 0x10},
		"? [vdso]: __vdso_clock_gettime+0x10": {Object: "[vdso]", Symbol: "__vdso_clock_gettime", Offset: 0x10},
	} {
		if got := f.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
