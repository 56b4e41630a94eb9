package objects

import (
	"encoding/binary"

	"github.com/unwedge/unwedge/harness/internal/guestmem/locate"
	"github.com/unwedge/unwedge/harness/internal/guestmem/physmem"
	"github.com/unwedge/unwedge/harness/internal/guestmem/tasks"
	"github.com/unwedge/unwedge/harness/internal/guestmem/user/procmem"
	"github.com/unwedge/unwedge/harness/internal/model"
)

// Symbols names addresses, at run time.
type Symbols interface {
	Nearest(addr uint64) (name string, off, size uint64, ok bool)
}

// dataSymbols are Symbols that also name the data of modules.
type dataSymbols interface {
	Data(addr uint64) (name string, off uint64, ok bool)
}

// Guest is a guest at one moment. Not safe for concurrent use.
type Guest struct {
	l       *Layout
	k       *locate.Kernel
	tl      *tasks.Layout
	list    *tasks.List
	symbols Symbols
	user    *procmem.Guest // nil: user memory cannot be read
	holders *holders       // who has which file open; nil: not read yet
	byPID   map[int]*tasks.Task
	opened  map[uint64]*procmem.Process // by task; nil for one that has none

	children map[int][]*tasks.Task  // by the process that has them; nil: not sorted yet
	done     map[uint64]*tasks.Task // by vfork_done; nil: not read yet
}

// Guest prepares the reading of one guest, whose tasks and symbols these are.
func (l *Layout) Guest(k *locate.Kernel, m physmem.Reader, tl *tasks.Layout, list *tasks.List, s Symbols) *Guest {
	g := &Guest{l: l, k: k, tl: tl, list: list, symbols: s, byPID: map[int]*tasks.Task{}, opened: map[uint64]*procmem.Process{}}
	if l.user != nil {
		g.user = l.user.Guest(k.Space, m)
	}
	for i := range list.Tasks {
		g.byPID[list.Tasks[i].PID] = &list.Tasks[i]
	}
	return g
}

// number is what a task is called in the PID namespace of that level (struct upid
// of its struct pid), and which namespace that is; ok is false where it has none.
func (g *Guest) number(t *tasks.Task, level uint64) (nr int, ns uint64, ok bool) {
	const upid, most = 16, 32 // the size of a struct upid, MAX_PID_NS_LEVEL
	own, ok := g.level(t)
	if !ok || level > own || level > most {
		return 0, 0, false
	}
	pid, _ := g.pointer(t.Addr, "task_struct.thread_pid") // as in level
	at := pid + g.l.off("pid.numbers") + upid*level
	n, ok1 := g.word(at, "upid.nr")
	ns, ok2 := g.pointer(at, "upid.ns")
	return int(int32(n)), ns, ok1 && ok2
}

// level is how deep the PID namespace of a task is nested, 0 for the first.
func (g *Guest) level(t *tasks.Task) (uint64, bool) {
	if !g.l.has("task_struct.thread_pid", "pid.level", "pid.numbers", "upid.nr", "upid.ns") {
		return 0, false
	}
	pid, ok := g.pointer(t.Addr, "task_struct.thread_pid")
	if !ok {
		return 0, false
	}
	return g.word(pid, "pid.level")
}

// called returns the task that another calls by that number: in a PID namespace of
// its own that is not the one that has the number elsewhere. nil for none.
func (g *Guest) called(by *tasks.Task, nr int) *tasks.Task {
	level, ok := g.level(by)
	if !ok || level == 0 {
		return g.byPID[nr]
	}
	_, here, ok := g.number(by, level)
	for i := range g.list.Tasks {
		t := &g.list.Tasks[i]
		if n, ns, has := g.number(t, level); ok && has && n == nr && ns == here {
			return t
		}
	}
	return nil
}

// childrenOf lists the processes that are children of any thread of a process.
func (g *Guest) childrenOf(tgid int) []*tasks.Task {
	if g.children == nil {
		g.children = map[int][]*tasks.Task{}
		for i := range g.list.Tasks {
			c := &g.list.Tasks[i]
			if parent := g.byPID[c.PPID]; parent != nil && c.PID == c.TGID && c.PID != 0 && c.TGID != parent.TGID {
				g.children[parent.TGID] = append(g.children[parent.TGID], c)
			}
		}
	}
	return g.children[tgid]
}

// finishes returns the task that signals a completion when it ends, or, of a child
// of vfork, when it starts a program; nil for none.
func (g *Guest) finishes(completion uint64) *tasks.Task {
	if g.done == nil {
		g.done = map[uint64]*tasks.Task{}
		for i := range g.list.Tasks {
			t := &g.list.Tasks[i]
			if c, ok := g.pointer(t.Addr, "task_struct.vfork_done"); ok {
				g.done[c] = t
			}
		}
	}
	return g.done[completion]
}

// word reads a field of at most 8 bytes of the structure at an address. ok is
// false where the kernel has no such field or it cannot be read.
func (g *Guest) word(addr uint64, name string) (v uint64, ok bool) {
	f, ok := g.l.fields[name]
	if !ok || f.Size == 0 || f.Size > 8 || addr == 0 {
		return 0, false
	}
	var b [8]byte
	if g.k.Space.Read(addr+f.Off, b[:f.Size]) != nil {
		return 0, false
	}
	return binary.LittleEndian.Uint64(b[:]), true
}

// pointer reads a field that is a pointer; ok is false for NULL.
func (g *Guest) pointer(addr uint64, name string) (uint64, bool) {
	v, ok := g.word(addr, name)
	return v, ok && v != 0 && g.l.fields[name].Size == 8
}

// raw reads the 64 bits at an address.
func (g *Guest) raw(addr uint64) (uint64, bool) {
	v, err := g.k.Space.Uint64(addr)
	return v, err == nil
}

// list calls f with the structures that a list has, whose node is at an offset in
// each. It ends after max, at damage, or when f returns false.
func (g *Guest) each(head, node uint64, max int, f func(at uint64) bool) {
	at, ok := g.raw(head)
	for prev := head; ok && at != head && max > 0; max-- {
		if back, read := g.raw(at + 8); !read || back != prev {
			return
		}
		if !f(at - node) {
			return
		}
		prev = at
		at, ok = g.raw(at)
	}
}

// stack reads what a task's stack holds from where it was scheduled away.
func (g *Guest) stack(t *tasks.Task) []byte {
	if t.OnCPU || !t.Holds(t.SP) || t.SP&7 != 0 {
		return nil
	}
	b := make([]byte, (t.Stack+t.StackSize-t.SP)&^7)
	if g.k.Space.Read(t.SP, b) != nil {
		return nil
	}
	return b
}

// words gives the addresses at which a stack holds a word.
func words(t *tasks.Task, stack []byte, word uint64, max int) []uint64 {
	var out []uint64
	for i := 0; i+8 <= len(stack) && len(out) < max; i += 8 {
		if binary.LittleEndian.Uint64(stack[i:]) == word {
			out = append(out, t.SP+uint64(i))
		}
	}
	return out
}

// Name says what an address of the kernel's is: a symbol of the kernel's data, or whose stack it
// lies on. "" where neither.
func (g *Guest) Name(addr uint64) string {
	if t := g.list.Holding(addr); t != nil {
		return "on the stack of " + who(t)
	}
	if d, ok := g.symbols.(dataSymbols); ok {
		if name, off, ok := d.Data(addr); ok && off == 0 {
			return name
		}
	}
	img := g.k.Image
	if link := addr - g.k.Offset; link < img.Start || link >= img.End {
		return ""
	}
	name, off, _, ok := g.symbols.Nearest(addr)
	switch {
	case !ok:
		return ""
	case off != 0:
		return name + "+" + hex(off)
	}
	return name
}

// function names the function that begins at an address.
func (g *Guest) function(addr uint64) (string, bool) {
	if addr>>63 == 0 {
		return "", false
	}
	name, off, _, ok := g.symbols.Nearest(addr)
	return name, ok && off == 0
}

// holder makes a Holder of a task.
func holder(t *tasks.Task, role string) model.Holder {
	return model.Holder{PID: t.PID, Comm: t.Comm, State: t.State, Role: role}
}
