package infer_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/unwedge/unwedge/harness/internal/guestmem/infer"
	"github.com/unwedge/unwedge/harness/internal/guestmem/kimage"
	"github.com/unwedge/unwedge/harness/internal/guestmem/locate"
	"github.com/unwedge/unwedge/harness/internal/guestmem/mmu"
	"github.com/unwedge/unwedge/harness/internal/guestmem/physmem"
	"github.com/unwedge/unwedge/images/kernel/kallsyms"
	"github.com/unwedge/unwedge/images/kernel/kerneltest"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// A kernel of x86_64, of which all lies in the image: no page tables are needed.
const (
	link   = kerneltest.TextAddr
	moved  = 0x1e00000
	size   = 0x80000
	data   = 0x10000
	text   = 0x1000
	rq     = data + 0x100
	percpu = data + 0x80
)

// The layout that is to be inferred.
const (
	oState, oStack, oUsage, oFlags     = 0x20, 0x28, 0x30, 0x34
	oTasks, oMM, oExit                 = 0x100, 0x140, 0x150
	oPID, oCanary, oParent, oLeader    = 0x170, 0x178, 0x180, 0x1b0
	oThreadNode, oComm, oSignal, oThSP = 0x230, 0x300, 0x340, 0x4c0
	oThreadHead                        = 16
)

// person is a task of the guest: its place in the image, its stack and its process's
// signal_struct.
type person struct {
	at, stack, signal        uint64
	pid, tgid, parent, state uint64
	comm                     string
	kthread                  bool
}

var people = []person{
	{0x20000, 0x40000, 0x30000, 0, 0, 0, 0, "swapper", true},
	{0x22000, 0x44000, 0x30100, 1, 1, 0, 1, "init", false},
	{0x24000, 0x48000, 0x30200, 2, 2, 0, 1, "kthreadd", true},
	{0x26000, 0x4c000, 0x30300, 7, 7, 2, 0x402, "kworker/0:1", true},
	{0x28000, 0x50000, 0x30100, 9, 1, 0, 2, "thread", false}, // of init
}

const initTask = 0x20000

// memory is the image as it is linked (by is 0) or as it runs.
type memory []byte

func (m memory) put(at, v uint64)   { binary.LittleEndian.PutUint64(m[at:], v) }
func (m memory) put32(at, v uint64) { binary.LittleEndian.PutUint32(m[at:], uint32(v)) }

func (m memory) list(by uint64, nodes ...uint64) {
	for i, n := range nodes {
		next := nodes[(i+1)%len(nodes)]
		m.put(n, link+by+next)
		m.put(next+8, link+by+n)
	}
}

func (m memory) family(by, at, parent, leader uint64) {
	m.put(at+oParent, link+by+parent)
	m.put(at+oParent+8, link+by+parent)
	m.list(by, at+oParent+16)
	m.list(by, at+oParent+32)
	m.put(at+oLeader, link+by+leader)
}

func linked() memory {
	m := make(memory, size)
	copy(m[initTask+oComm:], "swapper")
	m.family(0, initTask, initTask, initTask)
	m.list(0, initTask+oTasks)
	m.put32(initTask+oFlags, 0x200000)
	return m
}

func at(pid uint64) uint64 {
	for _, p := range people {
		if p.pid == pid {
			return p.at
		}
	}
	panic(pid)
}

func running() memory {
	m := linked()
	var tasks []uint64
	heads := map[uint64][]uint64{}
	for _, p := range people {
		m.family(moved, p.at, at(p.parent), at(p.tgid))
		m.put32(p.at+oState, p.state)
		m.put(p.at+oStack, link+moved+p.stack)
		m.put32(p.at+oUsage, 2)
		m.put32(p.at+oPID, p.pid)
		m.put32(p.at+oPID+4, p.tgid)
		m.put(p.at+oCanary, 0x1234567890abcd00+p.pid)
		copy(m[p.at+oComm:], p.comm+"\x00")
		m.put(p.at+oSignal, link+moved+p.signal)
		sp := p.stack + 0x3c00
		m.put(p.at+oThSP, link+moved+sp)
		m.put(sp+48, link+moved+text+0x110)
		if p.kthread {
			m.put32(p.at+oFlags, 0x200000)
		} else {
			m.put32(p.at+oFlags, 0x400000)
			m.put(p.at+oMM, link+moved+0x60000)
			m.put(p.at+oMM+8, link+moved+0x60000)
		}
		switch {
		case p.pid != p.tgid:
			m.put32(p.at+oExit+8, 0xffffffff)
		case p.pid > 0:
			m.put32(p.at+oExit+8, 17)
		}
		if p.pid == p.tgid {
			tasks = append(tasks, p.at+oTasks)
		}
		heads[p.signal] = append(heads[p.signal], p.at+oThreadNode)
	}
	m.list(moved, tasks...)
	for signal, nodes := range heads {
		m.list(moved, append([]uint64{signal + oThreadHead}, nodes...)...)
	}
	m.put(rq+0x200, link+moved+initTask) // curr
	m.put(rq+0x208, link+moved+initTask) // idle
	m.put(percpu, 0)                     // of CPU 0
	return m
}

func image(t *testing.T, m memory) *kimage.Image {
	t.Helper()
	syms := []kerneltest.Symbol{{Off: 0, Type: 'T', Name: "_text"}, {Off: text, Type: 'T', Name: "_stext"}, {Off: text + 0x80, Type: 'T', Name: "start_kernel"}, {Off: text + 0x100, Type: 'T', Name: "__schedule"}}
	for i := range uint64(48) {
		syms = append(syms, kerneltest.Symbol{Off: text + 0x200 + 16*i, Type: 'T', Name: fmt.Sprintf("function_%d", i)})
	}
	syms = append(syms, kerneltest.Symbol{Off: text + 0x1000, Type: 'T', Name: "_etext"})
	for _, s := range []struct {
		off  uint64
		name string
	}{{percpu, "__per_cpu_offset"}, {rq, "runqueues"}, {initTask, "init_task"}, {size, "_end"}} {
		syms = append(syms, kerneltest.Symbol{Off: s.off, Type: 'D', Name: s.name})
	}
	rodata := append([]byte(kerneltest.Banner+"\n\x00"), make([]byte, 16)...)
	rodata = append(rodata[:len(rodata)&^7], kerneltest.Kallsyms(link, syms)...)
	payload := kerneltest.ELF(2, 62,
		kerneltest.Section{Name: ".data", Type: 1, Flags: 3, Addr: link, Data: m},
		kerneltest.Section{Name: ".rodata", Type: 1, Flags: 2, Addr: link + size, Data: rodata},
	)
	table, err := kallsyms.Parse(payload, arch.X86_64)
	if err != nil {
		t.Fatal(err)
	}
	img, err := kimage.LoadUntyped(payload, arch.X86_64, table)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func inferred(t *testing.T, m memory) (*kimage.Types, error) {
	t.Helper()
	img := image(t, linked())
	first, err := infer.Image(img)
	if err != nil {
		t.Fatal(err)
	}
	ram := physmem.New(bytes.NewReader(m), []physmem.Range{{Size: size}})
	return infer.Memory(t.Context(), &locate.Kernel{
		Image: img.WithTypes(first), Space: mmu.NewSpace(ram, nil, mmu.Linear{Virt: link + moved, Size: size}), Offset: moved,
	}, ram, 1)
}

func TestWhatIsInferred(t *testing.T) {
	types, err := inferred(t, running())
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []struct {
		typ  string
		path []string
		want kimage.Field
	}{
		{"task_struct", []string{"comm"}, kimage.Field{Off: oComm, Size: 16}},
		{"task_struct", []string{"tasks"}, kimage.Field{Off: oTasks, Size: 16}},
		{"task_struct", []string{"thread_node"}, kimage.Field{Off: oThreadNode, Size: 16}},
		{"task_struct", []string{"signal"}, kimage.Field{Off: oSignal, Size: 8}},
		{"signal_struct", []string{"thread_head"}, kimage.Field{Off: oThreadHead, Size: 16}},
		{"task_struct", []string{"real_parent"}, kimage.Field{Off: oParent, Size: 8}},
		{"task_struct", []string{"pid"}, kimage.Field{Off: oPID, Size: 4}},
		{"task_struct", []string{"tgid"}, kimage.Field{Off: oPID + 4, Size: 4}},
		{"task_struct", []string{"stack"}, kimage.Field{Off: oStack, Size: 8}},
		{"task_struct", []string{"thread", "sp"}, kimage.Field{Off: oThSP, Size: 8}},
		{"task_struct", []string{"__state"}, kimage.Field{Off: oState, Size: 4}},
		{"task_struct", []string{"flags"}, kimage.Field{Off: oFlags, Size: 4}},
		{"task_struct", []string{"mm"}, kimage.Field{Off: oMM, Size: 8}},
		{"task_struct", []string{"exit_state"}, kimage.Field{Off: oExit, Size: 4}},
		{"thread_union", nil, kimage.Field{Size: 0x4000}},
		{"rq", []string{"curr"}, kimage.Field{Off: 0x200, Size: 8}},
		{"rq", []string{"idle"}, kimage.Field{Off: 0x208, Size: 8}},
	} {
		if got, err := types.Field(w.typ, w.path...); err != nil || got != w.want {
			t.Errorf("%s %v: %+v, %v; want %+v", w.typ, w.path, got, err, w.want)
		}
	}
	if types.Source != kimage.Inferred {
		t.Errorf("source %q", types.Source)
	}
}

// What does not hold for every task is not used.
func TestWhatIsNotInferred(t *testing.T) {
	worker, thread := at(7), at(9)
	for name, spoil := range map[string]func(memory){
		"the list of tasks is damaged":     func(m memory) { m.put(worker+oTasks+8, 0) },
		"a task has no name":               func(m memory) { m[worker+oComm] = 0 },
		"a name has no end":                func(m memory) { copy(m[worker+oComm:], "0123456789abcdefg") },
		"the list of threads is damaged":   func(m memory) { m.put(thread+oThreadNode, 0) },
		"signal points elsewhere":          func(m memory) { m.put(worker+oSignal, link+moved) },
		"a parent is no task":              func(m memory) { m.put(worker+oParent, link+moved+rq) },
		"two tasks have one PID":           func(m memory) { m.put32(worker+oPID, 2); m.put32(worker+oPID+4, 2) },
		"a thread is of another process":   func(m memory) { m.put32(thread+oPID+4, 2) },
		"two tasks have one stack":         func(m memory) { m.put(worker+oStack, link+moved+0x48000) },
		"a stack pointer is elsewhere":     func(m memory) { m.put(worker+oThSP, link+moved+0x7fff0) },
		"tasks go on where is no code":     func(m memory) { m.put(0x4c000+0x3c00+48, 0); m.put(0x48000+0x3c00+48, 0) },
		"a state is none":                  func(m memory) { m.put32(worker+oState, 3) },
		"a child of kthreadd is no thread": func(m memory) { m.put32(worker+oFlags, 0) },
		"nothing refers to a task":         func(m memory) { m.put32(worker+oUsage, 0) },
	} {
		m := running()
		spoil(m)
		if types, err := inferred(t, m); types != nil || !errors.Is(err, infer.ErrUnknown) {
			t.Errorf("%s: %v, %v", name, types, err)
		}
	}
}

// Fields that a list of tasks can do without are left out alone.
func TestOptionalFields(t *testing.T) {
	for field, spoil := range map[string]func(memory){
		"mm":         func(m memory) { m.put(at(7)+oMM, link+moved) },
		"exit_state": func(m memory) { m.put32(at(7)+oExit+8, 3) },
	} {
		m := running()
		spoil(m)
		types, err := inferred(t, m)
		if err != nil {
			t.Fatalf("%s: %v", field, err)
		}
		if types.Has("task_struct", field) || !types.Has("task_struct", "pid") {
			t.Errorf("%s: %v, pid: %v", field, types.Has("task_struct", field), types.Has("task_struct", "pid"))
		}
	}
}
