// Package guestmemtest makes a small x86_64 guest for tests: a kernel's image that
// package guestmem can load, and RAM that it can read. It stands for no real
// kernel; what it lacks is not needed by any reader.
package guestmemtest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"

	"github.com/cilium/ebpf/btf"

	"github.com/unwedge/unwedge/harness/internal/guestmem"
	"github.com/unwedge/unwedge/harness/internal/guestmem/physmem"
	"github.com/unwedge/unwedge/images/kernel/kallsyms"
	"github.com/unwedge/unwedge/images/kernel/kerneltest"
	"github.com/unwedge/unwedge/scenarios/arch"
)

var le = binary.LittleEndian

// The guest: an x86_64 kernel of 512 KiB at physical 2 MiB, moved by
// KASLR, with its heap below.
const (
	Link      = kerneltest.TextAddr
	Kaslr     = 0x1e00000
	ImageSize = 0x80000
	PhysBase  = 2 << 20
	RamSize   = 4 << 20
	Direct    = 0xffff888000000000 // the direct map of RAM
	fnSize    = 0x100
	stackSize = 0x4000

	// Offsets in the image.
	RodataAt, DataAt                      = 0x10000, 0x40000
	InitTask, InitStack, initMM           = DataAt, DataAt + 0x4000, DataAt + 0x8000
	TopPGT, prbPtr, jiffies               = DataAt + 0x9000, DataAt + 0x200, DataAt + 0x208
	percpu, CurrentTask, runqueues, slots = DataAt + 0x210, DataAt + 0x220, DataAt + 0x230, DataAt + 0x240
	Prb, ModuleList                       = DataAt + 0x300, DataAt + 0x400
	GlobalQueue                           = DataAt + 0x500

	// In the heap, physical.
	TaskInit, TaskThread, TaskKthreadd = 0x10000, 0x11000, 0x12000
	SignalInit, signalKthreadd         = 0x13000, 0x13100
	StackInit, StackThread, StackKth   = 0x20000, 0x24000, 0x28000
	RingDescs, RingInfos, ringText     = 0x30000, 0x31000, 0x32000
	PgtDirect, PgtKernel, PgtKernel2   = 0x40000, 0x41000, 0x42000
	Module, ModSyms, ModTab, modStr    = 0x50000, 0x50100, 0x50200, 0x50300
	modText, mutex                     = 0x60000, 0x62000
)

// functions are the kernel's text, fnSize bytes each.
var functions = []string{
	"start_kernel", "__schedule", "schedule", "wait_for_random_bytes", "__x64_sys_getrandom",
	"entry_SYSCALL_64_after_hwframe", "kthread", "ret_from_fork", "mutex_lock",
	"process_timeout", "hrtimer_wakeup",
	"pipe_read", "flock_lock_inode_wait", "fcntl_setlk", "futex_wait", "do_wait", "ep_poll", "do_poll", "do_select",
	"wait_for_completion", "submit_bio_wait", "folio_wait_bit_common", "__wait_on_buffer", "unix_stream_read_generic",
	"fifo_open", "wait_for_something",
	"autoremove_wake_function", "wake_page_function", "wake_bit_function", "__x64_sys_call",
}

// Func is the run-time address of an instruction in a function, behind a call.
func Func(name string) uint64 {
	for i, f := range functions {
		if f == name {
			return Link + Kaslr + uint64(i+1)*fnSize + 0x10
		}
	}
	panic("no function " + name)
}

// structs are the fake kernel's types: each field's name and size.
type layout []struct {
	name string
	size uint32
}

var structs = merged(map[string]layout{
	"list_head":      {{"next", 8}, {"prev", 8}},
	"thread_info":    {{"flags", 8}, {"cpu", 4}, {"pad", 4}},
	"thread_struct":  {{"sp", 8}},
	"signal_struct":  {{"pad", 16}, {"thread_head", 16}},
	"mm_struct":      {{"mmap", 8}, {"pgd", 8}},
	"rq":             {{"curr", 8}, {"idle", 8}},
	"desc_ring":      {{"count_bits", 4}, {"pad", 4}, {"descs", 8}, {"infos", 8}, {"head_id", 8}, {"tail_id", 8}},
	"text_data_ring": {{"size_bits", 4}, {"pad", 4}, {"data", 8}},
	"prb_desc":       {{"state_var", 8}, {"text_blk_lpos", 16}},
	"lpos":           {{"begin", 8}, {"next", 8}},
	"printk_info":    {{"seq", 8}, {"ts_nsec", 8}, {"text_len", 2}, {"pad", 2}, {"caller_id", 4}},
	"mutex":          {{"owner", 8}, {"wait_lock", 8}, {"wait_list", 16}},
	"mutex_waiter":   {{"list", 16}, {"task", 8}},
	"mod_kallsyms":   {{"symtab", 8}, {"num_symtab", 4}, {"pad", 4}, {"strtab", 8}},
	"module_layout":  {{"base", 8}, {"text_size", 4}, {"size", 4}},
	"module":         {{"list", 16}, {"name", 56}, {"core_layout", 16}, {"kallsyms", 8}},
	"task_struct": {
		{"thread_info", 16}, {"__state", 4}, {"flags", 4}, {"stack", 8}, {"on_cpu", 4}, {"pid", 4}, {"tgid", 4},
		{"exit_state", 4}, {"tasks", 16}, {"thread_node", 16}, {"mm", 8}, {"active_mm", 8}, {"real_parent", 8},
		{"signal", 8}, {"comm", 16}, {"thread", 8}, {"nvcsw", 8}, {"nivcsw", 8}, {"files", 8}, {"vfork_done", 8},
		{"worker_private", 8}, {"thread_pid", 8},
	},
	"printk_ringbuffer": {{"desc_ring", 40}, {"text_data_ring", 16}},
	"timer_list":        {{"entry", 16}, {"expires", 8}, {"function", 8}, {"flags", 8}},
	"process_timer":     {{"timer", 40}, {"task", 8}},
	"timerqueue_node":   {{"node", 24}, {"expires", 8}},
	"hrtimer":           {{"node", 32}, {"_softexpires", 8}, {"function", 8}, {"base", 8}},
	"hrtimer_sleeper":   {{"timer", 56}, {"task", 8}},
}, waitStructs)

// nested says which fields are structures.
var nested = merged(map[string]string{
	"task_struct.thread_info": "thread_info", "task_struct.thread": "thread_struct", "prb_desc.text_blk_lpos": "lpos",
	"module.core_layout": "module_layout", "printk_ringbuffer.desc_ring": "desc_ring",
	"printk_ringbuffer.text_data_ring": "text_data_ring", "process_timer.timer": "timer_list",
	"hrtimer.node": "timerqueue_node", "hrtimer_sleeper.timer": "hrtimer",
}, waitNested)

func merged[V any](a, b map[string]V) map[string]V {
	maps.Copy(a, b)
	return a
}

// Offset returns where a field of a structure is, in bytes.
func Offset(typ, field string) uint64 {
	at := uint64(0)
	for _, f := range structs[typ] {
		if f.name == field {
			return at
		}
		at += uint64(f.size)
	}
	panic("no field " + typ + "." + field)
}

func types() []byte {
	made := map[string]*btf.Struct{}
	var add func(name string) *btf.Struct
	add = func(name string) *btf.Struct {
		if s, ok := made[name]; ok {
			return s
		}
		s := &btf.Struct{Name: name}
		for _, f := range structs[name] {
			var t btf.Type = &btf.Array{Index: &btf.Int{Name: "unsigned int", Size: 4}, Type: &btf.Int{Name: "char", Size: 1}, Nelems: f.size}
			if n := nested[name+"."+f.name]; n != "" {
				t = add(n)
			}
			s.Members = append(s.Members, btf.Member{Name: f.name, Type: t, Offset: btf.Bits(8 * s.Size)})
			s.Size += f.size
		}
		made[name] = s
		return s
	}
	b, err := btf.NewBuilder(nil, nil)
	if err != nil {
		panic(err)
	}
	for name := range structs {
		if _, err := b.Add(add(name)); err != nil {
			panic(err)
		}
	}
	raw, err := b.Marshal(nil, nil)
	if err != nil {
		panic(err)
	}
	return raw
}

// dataSection is the kernel's data as it is linked (by is 0) or has relocated
// itself.
func dataSection(by uint64) []byte {
	b := make([]byte, ImageSize-DataAt)
	put := func(at, v uint64) { le.PutUint64(b[at-DataAt:], v) }
	put(InitTask+Offset("task_struct", "stack"), Link+by+InitStack)
	put(InitTask+Offset("task_struct", "active_mm"), Link+by+initMM)
	copy(b[InitTask-DataAt+Offset("task_struct", "comm"):], "swapper")
	put(InitTask+Offset("task_struct", "tasks"), Link+by+InitTask+Offset("task_struct", "tasks"))
	put(InitTask+Offset("task_struct", "tasks")+8, Link+by+InitTask+Offset("task_struct", "tasks"))
	put(initMM+Offset("mm_struct", "pgd"), Link+by+TopPGT)
	put(ModuleList, Link+by+ModuleList)
	put(ModuleList+8, Link+by+ModuleList)
	return b
}

// RodataSection is the kernel's read-only data: its banner and its symbols.
func RodataSection() []byte {
	syms := []kerneltest.Symbol{{Off: 0, Type: 'T', Name: "_text"}, {Off: 0, Type: 'T', Name: "_stext"}}
	for i, f := range functions {
		syms = append(syms, kerneltest.Symbol{Off: uint64(i+1) * fnSize, Type: 'T', Name: f})
	}
	add := func(off uint64, typ byte, name string) {
		syms = append(syms, kerneltest.Symbol{Off: off, Type: typ, Name: name})
	}
	add(uint64(len(functions)+1)*fnSize, 'T', "_etext")
	add(InitTask, 'D', "init_task")
	add(prbPtr, 'd', "prb")
	add(jiffies, 'D', "jiffies_64")
	add(percpu, 'D', "__per_cpu_offset")
	add(CurrentTask, 'D', "current_task")
	add(runqueues, 'D', "runqueues")
	add(slots, 'd', "after_runqueues")
	add(ModuleList, 'd', "modules")
	add(GlobalQueue, 'D', "some_waitqueue")
	add(GlobalQueue+32, 'D', "after_waitqueue")
	add(InitStack, 'D', "init_stack")
	add(initMM, 'D', "init_mm")
	add(TopPGT, 'D', "init_top_pgt")
	add(ImageSize, 'B', "_end")
	b := append([]byte(kerneltest.Banner+"\n\x00"), make([]byte, 16)...)
	b = b[:len(b)&^7]
	return append(b, kerneltest.Kallsyms(Link, syms)...)
}

// textSection is code in which a call stands before each address that fn gives.
func textSection() []byte {
	b := bytes.Repeat([]byte{0x90}, RodataAt)
	for at := 0x10; at < len(b); at += fnSize {
		b[at-5] = 0xe8
	}
	return b
}

// Image is the kernel's file.
func Image() []byte {
	return kerneltest.ELF(2, 62,
		kerneltest.Section{Name: ".text", Type: 1, Flags: 6, Addr: Link, Data: textSection()},
		kerneltest.Section{Name: ".rodata", Type: 1, Flags: 2, Addr: Link + RodataAt, Data: RodataSection()},
		kerneltest.Section{Name: ".data", Type: 1, Flags: 3, Addr: Link + DataAt, Data: dataSection(0)},
		kerneltest.Section{Name: ".BTF", Type: 1, Data: types()},
	)
}

// Kernel is the image, loaded.
func Kernel() *guestmem.Kernel {
	payload := Image()
	table, err := kallsyms.Parse(payload, arch.X86_64)
	if err != nil {
		panic(err)
	}
	k, err := guestmem.LoadKernel(payload, arch.X86_64, table, nil)
	if err != nil {
		panic(err)
	}
	return k
}

// Guest is the guest's RAM.
type Guest []byte

// IdleRegisters are QEMU's text of the registers of a vCPU that runs the idle
// task.
func IdleRegisters() string {
	return fmt.Sprintf("CPU#0\r\nRBP=%016x RSP=%016x\r\nRIP=%016x RFL=00000246 CPL=0 II=0 A20=1 SMM=0 HLT=1\r\nGS =0000 %016x ffffffff 00c0\r\n",
		0, uint64(Link+Kaslr+InitStack+0x3f00), Func("start_kernel"), 0)
}

// Reader reads it.
func (g Guest) Reader() physmem.Reader {
	return physmem.New(bytes.NewReader(g), physmem.Ranges(arch.X86_64, uint64(len(g))))
}

// Put writes 64 bits at a physical address.
func (g Guest) Put(phys, v uint64) { le.PutUint64(g[phys:], v) }

// Put32 is Put of 32 bits.
func (g Guest) Put32(phys, v uint64) { le.PutUint32(g[phys:], uint32(v)) }

// Early is a guest at the beginning of start_kernel: there is the image, and
// nothing is set up.
func Early() Guest {
	g := make(Guest, RamSize)
	copy(g[PhysBase:], textSection())
	copy(g[PhysBase+RodataAt:], RodataSection())
	copy(g[PhysBase+DataAt:], dataSection(Kaslr))
	return g
}

// Booted is a guest with three tasks beside its idle task, one module and a log.
func Booted() Guest {
	g := Early()
	g.pageTables()
	g.task(TaskInit, "init", 1, 1, 1, StackInit, SignalInit)
	g.Put(TaskInit+Offset("task_struct", "mm"), Direct+0x70000)
	g.task(TaskThread, "worker \x1b[2J", 3, 1, 2, StackThread, SignalInit)
	g.task(TaskKthreadd, "kthreadd", 2, 2, 1, StackKth, signalKthreadd)
	g.Put32(TaskKthreadd+Offset("task_struct", "flags"), 0x200000)
	g.Put(TaskKthreadd+Offset("task_struct", "real_parent"), Link+Kaslr+InitTask)
	tasks := Offset("task_struct", "tasks")
	g.list(Link+Kaslr+InitTask+tasks, Direct+TaskInit+tasks, Direct+TaskKthreadd+tasks)
	node, head := Offset("task_struct", "thread_node"), Offset("signal_struct", "thread_head")
	g.list(Direct+SignalInit+head, Direct+TaskInit+node, Direct+TaskThread+node)
	g.list(Direct+signalKthreadd+head, Direct+TaskKthreadd+node)
	g.stacks()
	g.log("Linux version", "two\nlines", "starting \x1b[2J")
	g.module()
	g.Put(PhysBase+jiffies, 0x123456789)
	g.Put(PhysBase+CurrentTask, Link+Kaslr+InitTask)
	return g
}

// phys is the physical address of a virtual one.
func phys(va uint64) uint64 {
	if va >= Link {
		return va - Link - Kaslr + PhysBase
	}
	return va - Direct
}

func (g Guest) list(nodes ...uint64) {
	for i, n := range nodes {
		next := nodes[(i+1)%len(nodes)]
		g.Put(phys(n), next)
		g.Put(phys(next)+8, n)
	}
}

func (g Guest) pageTables() {
	top := uint64(PhysBase + TopPGT)
	g.Put(top+8*273, PgtDirect|0x63)
	g.Put(PgtDirect, 0|0xe3) // the first GiB
	g.Put(top+8*511, PgtKernel|0x63)
	g.Put(PgtKernel+8*510, PgtKernel2|0x63)
	g.Put(PgtKernel2+8*((Link+Kaslr)>>21&0x1ff), PhysBase|0xe3)
}

func (g Guest) task(at uint64, comm string, pid, tgid, state, stack, signal uint64) {
	f := func(name string) uint64 { return at + Offset("task_struct", name) }
	g.Put32(f("pid"), pid)
	g.Put32(f("tgid"), tgid)
	g.Put32(f("__state"), state)
	g.Put(f("stack"), Direct+stack)
	g.Put(f("signal"), Direct+signal)
	g.Put(f("real_parent"), Direct+TaskInit)
	copy(g[f("comm"):f("comm")+16], comm)
}

// stacks puts PID 1 to sleep in getrandom, and the others nowhere in
// particular.
func (g Guest) stacks() {
	const regs = StackInit + stackSize - 168
	for i, v := range map[uint64]uint64{15: 318, 16: 0x7f0000001234, 17: 0x33, 19: 0x7ffd00001000, 20: 0x2b, 14: 0x7fff0000, 13: 16} {
		g.Put(regs+8*i, v)
	}
	frames := []string{"__schedule", "schedule", "wait_for_random_bytes", "__x64_sys_getrandom", "entry_SYSCALL_64_after_hwframe"}
	g.chain(TaskInit, StackInit, Direct+regs|1, frames...)
	g.chain(TaskKthreadd, StackKth, 0, "__schedule", "schedule", "kthread", "ret_from_fork")
	g.chain(TaskThread, StackThread, 0, "__schedule", "mutex_lock", "schedule")
	// The thread waits for a mutex that kthreadd holds.
	const waiter = StackThread + 0x3000 + 8*8
	g.Put(waiter+16, Direct+TaskThread)
	g.list(Direct+mutex+Offset("mutex", "wait_list"), Direct+waiter)
	g.Put(mutex, Direct+TaskKthreadd|1)
}

// chain writes a sleeping task's stack with frame pointers: struct
// inactive_task_frame, then a frame for each function.
func (g Guest) chain(task, stack, last uint64, fns ...string) {
	sp := uint64(stack + 0x3000)
	g.Put(task+Offset("task_struct", "thread"), Direct+sp)
	at := sp + 5*8
	for i, f := range fns {
		next := at + 0x40
		g.Put(at, Direct+next)
		if i == len(fns)-1 {
			g.Put(at, last)
		}
		g.Put(at+8, Func(f))
		at = next
	}
}

func (g Guest) log(lines ...string) {
	const bits, textBits = 4, 12
	ring := uint64(PhysBase + Prb)
	g.Put(PhysBase+prbPtr, Link+Kaslr+Prb)
	d := func(name string) uint64 { return ring + Offset("desc_ring", name) }
	g.Put32(d("count_bits"), bits)
	g.Put(d("descs"), Direct+RingDescs)
	g.Put(d("infos"), Direct+RingInfos)
	g.Put(d("tail_id"), 0x100)
	g.Put(d("head_id"), 0x100+uint64(len(lines))-1)
	text := ring + Offset("printk_ringbuffer", "text_data_ring")
	g.Put32(text+Offset("text_data_ring", "size_bits"), textBits)
	g.Put(text+Offset("text_data_ring", "data"), Direct+ringText)
	at := uint64(3 << textBits)
	for i, l := range lines {
		id := uint64(0x100 + i)
		n := id & (1<<bits - 1)
		end := at + 8 + uint64(len(l)+7)&^7
		g.Put(RingDescs+24*n, id|2<<62)
		g.Put(RingDescs+24*n+8, at)
		g.Put(RingDescs+24*n+16, end)
		g.Put(ringText+at&(1<<textBits-1), id)
		copy(g[ringText+at&(1<<textBits-1)+8:], l)
		g.Put(RingInfos+24*n+8, uint64(i)*1_500_000_000)
		le.PutUint16(g[RingInfos+24*n+16:], uint16(len(l)))
		at = end
	}
}

// module loads one, whose function wait_forever the second thread of PID 1 is
// in.
func (g Guest) module() {
	g.list(Link+Kaslr+ModuleList, Direct+Module)
	copy(g[Module+Offset("module", "name"):], "unwedge_fault\x00")
	core := uint64(Module) + Offset("module", "core_layout")
	g.Put(core, Direct+modText)
	g.Put32(core+8, 0x1000)
	g.Put32(core+12, 0x3000)
	g.Put(Module+Offset("module", "kallsyms"), Direct+ModSyms)
	g.Put(ModSyms, Direct+ModTab)
	g.Put32(ModSyms+8, 4)
	g.Put(ModSyms+16, Direct+modStr)
	copy(g[modStr:], "\x00$x\x00wait_forever\x00some_mutex\x00")
	for i, s := range []struct {
		name uint32
		addr uint64
	}{{}, {1, Direct + modText}, {4, Direct + modText + 0x20}, {17, Direct + mutex}} {
		at := uint64(ModTab + 24*i)
		g.Put32(at, uint64(s.name))
		le.PutUint16(g[at+6:], uint16(i))
		g.Put(at+8, s.addr)
	}
	g[modText+0x30-5] = 0xe8
	at := uint64(StackThread) + 0x3000 + 5*8
	g.Put(at+0x80+8, Direct+modText+0x30)
}
