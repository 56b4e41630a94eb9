// Package user reads the user-space stack of a task of a guest from outside,
// with nothing but the kernel's image: which library made the system call that
// blocks, and who called it. Its parts:
//
//	procmem  the mappings and pages of a process
//	object   the ELF objects that are mapped
//	ehframe  callers, by .eh_frame
//
// The guest is hostile: every loop and allocation is bounded. A page that is
// not in memory is reported, not guessed, and a caller that was found by frame
// pointers alone is marked as a guess.
package user

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/unwedge/unwedge/harness/internal/guestmem/kimage"
	"github.com/unwedge/unwedge/harness/internal/guestmem/locate"
	"github.com/unwedge/unwedge/harness/internal/guestmem/physmem"
	"github.com/unwedge/unwedge/harness/internal/guestmem/user/object"
	"github.com/unwedge/unwedge/harness/internal/guestmem/user/procmem"
	"github.com/unwedge/unwedge/harness/internal/isa"
	"github.com/unwedge/unwedge/harness/internal/model"
)

// Files are the guest's files as the harness has them from outside.
type Files interface {
	// Open returns the file with that build ID, which may be at path; nil
	// where there is none. A file with another build ID must not be returned.
	Open(buildID, path string) io.ReaderAt
}

// Layout is what one kernel's types say. Made once per image; it may be used by
// many goroutines.
type Layout struct {
	isa *isa.ISA
	mem *procmem.Layout
}

// NewLayout reads the image's types.
func NewLayout(img *kimage.Image) (*Layout, error) {
	mem, err := procmem.NewLayout(img)
	if err != nil {
		return nil, err
	}
	return &Layout{img.ISA, mem}, nil
}

// Frame is one function on a user-space stack.
type Frame struct {
	// PC is a return address, or where the task entered the kernel.
	PC uint64
	// Object is the soname of the library, or the program's file name, or a
	// mapping's name such as [vdso]; "" where nothing is mapped. Path and
	// BuildID are its.
	Object, Path, BuildID string
	// Symbol is the function, "" where the object names none there. Offset is
	// from the symbol, or from the object's link-time address 0.
	Symbol string
	Offset uint64
	// Constructor says that the function is one that ld.so calls when it has
	// loaded the object.
	Constructor bool
	// Signal says that the frame is that of the return from a signal handler.
	Signal bool
	// Reliable is false for a guess.
	Reliable bool
}

// String is the frame as one line: `libgcrypt.so.20: gcry_control+0x10`.
func (f Frame) String() string {
	where := fmt.Sprintf("%s+%#x", cmp.Or(f.Object, "?"), f.Offset)
	if f.Symbol != "" {
		where = fmt.Sprintf("%s: %s+%#x", f.Object, f.Symbol, f.Offset)
	}
	if f.Constructor {
		where += " (constructor)"
	}
	if !f.Reliable {
		where = "? " + where
	}
	return where
}

// Stack is the user-space stack of one task.
type Stack struct {
	Frames []Frame // innermost first
	// Program is the name of the task's program as Frame.Object has it.
	Program string
	// End says why there are no more frames, "" where the last is the first
	// function of the thread.
	End string
	// Mappings are the process's.
	Mappings []procmem.Mapping
	// Problems say what could not be read.
	Problems []string
}

// Reader reads the stacks of one guest at one moment. Not safe for concurrent
// use.
type Reader struct {
	layout  *Layout
	guest   *procmem.Guest
	files   Files
	symbols map[uint64]object.Symbols // by the file they are of
	left    int                       // how many symbols may be kept in all
}

// maxSymbols bounds the symbols of all objects of a guest: a distribution's
// running programs have some 50,000.
const maxSymbols = 2 << 20

// NewReader prepares it. files may be nil.
func (l *Layout) NewReader(k *locate.Kernel, m physmem.Reader, files Files) *Reader {
	return &Reader{layout: l, guest: l.mem.Guest(k.Space, m), files: files, symbols: map[uint64]object.Symbols{}, left: maxSymbols}
}

// Stack unwinds a task's user-space stack from the registers with which it
// entered the kernel. It gives an error only where nothing can be read.
func (r *Reader) Stack(ctx context.Context, task uint64, u *model.UserRegs) (*Stack, error) {
	p, err := r.guest.Open(task)
	if err != nil {
		return nil, err
	}
	if u.Compat {
		return nil, errors.New("unwind user space: 32-bit programs are not supported")
	}
	w := r.newWalk(ctx, p, p.Mappings, p.Bits)
	if p.Problem != "" {
		w.problem(p.Problem)
	}
	if p.Exe != nil {
		w.out.Program = w.program(p.Exe.Key)
	}
	if first := slices.IndexFunc(p.Mappings, func(m procmem.Mapping) bool { return m.File != nil }); w.out.Program == "" && first >= 0 {
		// On an overlayfs the program's own file is not what is mapped. The kernel maps a
		// program below its libraries (fs/binfmt_elf.c, ELF_ET_DYN_BASE).
		w.out.Program = w.program(p.Mappings[first].File.Key)
	}
	w.run(u)
	return w.out, nil
}

// process is the address space that is walked.
type process interface {
	Find(addr uint64) *procmem.Mapping
	Read(addr uint64, p []byte) error
}

func (r *Reader) newWalk(ctx context.Context, p process, maps []procmem.Mapping, bits uint) *walk {
	return &walk{r: r, ctx: ctx, p: p, bits: bits, objects: map[uint64]*loaded{}, out: &Stack{Mappings: maps}}
}

// walk is the unwinding of one stack.
type walk struct {
	r       *Reader
	ctx     context.Context
	p       process
	bits    uint               // of a user address
	objects map[uint64]*loaded // by the address of their first byte
	out     *Stack
}

// loaded is an object, or why it cannot be read.
type loaded struct {
	o   *object.Object
	err error
}

// maxProblems bounds Stack.Problems.
const maxProblems = 16

func (w *walk) problem(s string) {
	if len(w.out.Problems) < maxProblems && !slices.Contains(w.out.Problems, s) {
		w.out.Problems = append(w.out.Problems, s)
	}
}

// program is the name of the program itself, whose file has a key.
func (w *walk) program(key uint64) string {
	for i := range w.out.Mappings {
		if m := &w.out.Mappings[i]; m.File != nil && m.File.Key == key {
			if o, err := w.object(m); err == nil {
				return o.Name
			}
		}
	}
	return ""
}

// maxObjects bounds the objects of one process that are read.
const maxObjects = 256

// object returns the object that a mapping is a part of: the nearest mapping
// of the same file, at or below it, that begins with the file.
func (w *walk) object(m *procmem.Mapping) (*object.Object, error) {
	base := m
	if m.File != nil {
		for i := range w.out.Mappings {
			c := &w.out.Mappings[i]
			if c.Start > m.Start {
				break
			}
			if c.File != nil && c.File.Key == m.File.Key && c.Offset == 0 {
				base = c
			}
		}
	}
	if l, ok := w.objects[base.Start]; ok {
		return l.o, l.err
	}
	if len(w.objects) >= maxObjects {
		return nil, fmt.Errorf("read %s: more than %d objects", m.Name, maxObjects)
	}
	o, err := w.load(base)
	if err != nil {
		w.problem(err.Error())
	}
	w.objects[base.Start] = &loaded{o, err}
	return o, err
}

func (w *walk) load(m *procmem.Mapping) (*object.Object, error) {
	if m.File == nil {
		return object.Load(w.p, nil, m.Name, m.Start, w.r.layout.isa)
	}
	o, err := object.Load(w.p, m.File, m.File.Path, m.Start, w.r.layout.isa)
	if err != nil {
		return nil, err
	}
	if w.r.files != nil && o.BuildID != "" {
		if f := w.r.files.Open(o.BuildID, o.Path); f != nil {
			m.File.SetBacking(f)
		}
	}
	return o, nil
}

// symbol names a link-time address of an object. The symbols of a file are read
// once for all its mappings.
func (w *walk) symbol(m *procmem.Mapping, o *object.Object, addr uint64) (object.Symbol, bool) {
	if m.File == nil {
		return o.Symbols().Find(addr)
	}
	s, ok := w.r.symbols[m.File.Key]
	if !ok {
		if w.r.left > 0 {
			s = o.Symbols()
		}
		w.r.left -= len(s)
		w.r.symbols[m.File.Key] = s
	}
	return s.Find(addr)
}
