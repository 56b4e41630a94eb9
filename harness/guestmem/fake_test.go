package guestmem_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/unwedge/unwedge/harness/guestmem"
	"github.com/unwedge/unwedge/harness/guestmem/physmem"
	"github.com/unwedge/unwedge/images/kernel/kallsyms"
	"github.com/unwedge/unwedge/images/kernel/kerneltest"
	"github.com/unwedge/unwedge/scenarios/arch"
)

var le = binary.LittleEndian

// The fake guest: an x86_64 kernel of 512 KiB at physical 2 MiB, moved by
// KASLR, with its heap below.
const (
	link      = kerneltest.TextAddr
	kaslr     = 0x1e00000
	imageSize = 0x80000
	physBase  = 2 << 20
	ramSize   = 4 << 20
	direct    = 0xffff888000000000 // the direct map of RAM
	fnSize    = 0x100
	stackSize = 0x4000

	// Offsets in the image.
	rodata, data                          = 0x10000, 0x40000
	initTask, initStack, initMM           = data, data + 0x4000, data + 0x8000
	topPGT, prbPtr, jiffies               = data + 0x9000, data + 0x200, data + 0x208
	percpu, currentTask, runqueues, slots = data + 0x210, data + 0x220, data + 0x230, data + 0x240
	prb, moduleList                       = data + 0x300, data + 0x400

	// In the heap, physical.
	taskInit, taskThread, taskKthreadd = 0x10000, 0x11000, 0x12000
	signalInit, signalKthreadd         = 0x13000, 0x13100
	stackInit, stackThread, stackKth   = 0x20000, 0x24000, 0x28000
	ringDescs, ringInfos, ringText     = 0x30000, 0x31000, 0x32000
	pgtDirect, pgtKernel, pgtKernel2   = 0x40000, 0x41000, 0x42000
	module, modSyms, modTab, modStr    = 0x50000, 0x50100, 0x50200, 0x50300
	modText, mutex                     = 0x60000, 0x62000
)

// functions are the kernel's text, fnSize bytes each.
var functions = []string{
	"start_kernel", "__schedule", "schedule", "wait_for_random_bytes", "__x64_sys_getrandom",
	"entry_SYSCALL_64_after_hwframe", "kthread", "ret_from_fork", "mutex_lock",
	"process_timeout", "hrtimer_wakeup",
}

func fn(name string) uint64 {
	for i, f := range functions {
		if f == name {
			return link + kaslr + uint64(i+1)*fnSize + 0x10
		}
	}
	panic("no function " + name)
}

// structs are the fake kernel's types: each field's name and size.
type layout []struct {
	name string
	size uint32
}

var structs = map[string]layout{
	"list_head":      {{"next", 8}, {"prev", 8}},
	"thread_info":    {{"flags", 8}, {"cpu", 4}, {"pad", 4}},
	"thread_struct":  {{"sp", 8}},
	"signal_struct":  {{"pad", 16}, {"thread_head", 16}},
	"mm_struct":      {{"pad", 8}, {"pgd", 8}},
	"rq":             {{"curr", 8}, {"idle", 8}},
	"desc_ring":      {{"count_bits", 4}, {"pad", 4}, {"descs", 8}, {"infos", 8}, {"head_id", 8}, {"tail_id", 8}},
	"text_data_ring": {{"size_bits", 4}, {"pad", 4}, {"data", 8}},
	"prb_desc":       {{"state_var", 8}, {"text_blk_lpos", 16}},
	"lpos":           {{"begin", 8}, {"next", 8}},
	"printk_info":    {{"seq", 8}, {"ts_nsec", 8}, {"text_len", 2}, {"pad", 2}, {"caller_id", 4}},
	"mutex":          {{"owner", 8}, {"wait_lock", 8}, {"wait_list", 16}},
	"mutex_waiter":   {{"list", 16}, {"task", 8}},
	"mod_kallsyms":   {{"symtab", 8}, {"num_symtab", 4}, {"pad", 4}, {"strtab", 8}},
	"module_layout":  {{"base", 8}, {"text_size", 4}, {"pad", 4}},
	"module":         {{"list", 16}, {"name", 56}, {"core_layout", 16}, {"kallsyms", 8}},
	"task_struct": {
		{"thread_info", 16}, {"__state", 4}, {"flags", 4}, {"stack", 8}, {"on_cpu", 4}, {"pid", 4}, {"tgid", 4},
		{"exit_state", 4}, {"tasks", 16}, {"thread_node", 16}, {"mm", 8}, {"active_mm", 8}, {"real_parent", 8},
		{"signal", 8}, {"comm", 16}, {"thread", 8},
	},
	"printk_ringbuffer": {{"desc_ring", 40}, {"text_data_ring", 16}},
	"timer_list":        {{"entry", 16}, {"expires", 8}, {"function", 8}, {"flags", 8}},
	"process_timer":     {{"timer", 40}, {"task", 8}},
	"timerqueue_node":   {{"node", 24}, {"expires", 8}},
	"hrtimer":           {{"node", 32}, {"_softexpires", 8}, {"function", 8}, {"base", 8}},
	"hrtimer_sleeper":   {{"timer", 56}, {"task", 8}},
}

// nested says which fields are structures.
var nested = map[string]string{
	"task_struct.thread_info": "thread_info", "task_struct.thread": "thread_struct", "prb_desc.text_blk_lpos": "lpos",
	"module.core_layout": "module_layout", "printk_ringbuffer.desc_ring": "desc_ring",
	"printk_ringbuffer.text_data_ring": "text_data_ring", "process_timer.timer": "timer_list",
	"hrtimer.node": "timerqueue_node", "hrtimer_sleeper.timer": "hrtimer",
}

// off returns where a field is.
func off(typ, field string) uint64 {
	at := uint64(0)
	for _, f := range structs[typ] {
		if f.name == field {
			return at
		}
		at += uint64(f.size)
	}
	panic("no field " + typ + "." + field)
}

func fakeBTF(tb testing.TB) []byte {
	tb.Helper()
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
		tb.Fatal(err)
	}
	for name := range structs {
		if _, err := b.Add(add(name)); err != nil {
			tb.Fatal(err)
		}
	}
	raw, err := b.Marshal(nil, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// dataSection is the kernel's data as it is linked (by is 0) or has relocated
// itself.
func dataSection(by uint64) []byte {
	b := make([]byte, imageSize-data)
	put := func(at, v uint64) { le.PutUint64(b[at-data:], v) }
	put(initTask+off("task_struct", "stack"), link+by+initStack)
	put(initTask+off("task_struct", "active_mm"), link+by+initMM)
	copy(b[initTask-data+off("task_struct", "comm"):], "swapper")
	put(initTask+off("task_struct", "tasks"), link+by+initTask+off("task_struct", "tasks"))
	put(initTask+off("task_struct", "tasks")+8, link+by+initTask+off("task_struct", "tasks"))
	put(initMM+off("mm_struct", "pgd"), link+by+topPGT)
	put(moduleList, link+by+moduleList)
	put(moduleList+8, link+by+moduleList)
	return b
}

func rodataSection() []byte {
	syms := []kerneltest.Symbol{{Off: 0, Type: 'T', Name: "_text"}, {Off: 0, Type: 'T', Name: "_stext"}}
	for i, f := range functions {
		syms = append(syms, kerneltest.Symbol{Off: uint64(i+1) * fnSize, Type: 'T', Name: f})
	}
	add := func(off uint64, typ byte, name string) {
		syms = append(syms, kerneltest.Symbol{Off: off, Type: typ, Name: name})
	}
	add(uint64(len(functions)+1)*fnSize, 'T', "_etext")
	add(initTask, 'D', "init_task")
	add(prbPtr, 'd', "prb")
	add(jiffies, 'D', "jiffies_64")
	add(percpu, 'D', "__per_cpu_offset")
	add(currentTask, 'D', "current_task")
	add(runqueues, 'D', "runqueues")
	add(slots, 'd', "after_runqueues")
	add(moduleList, 'd', "modules")
	add(initStack, 'D', "init_stack")
	add(initMM, 'D', "init_mm")
	add(topPGT, 'D', "init_top_pgt")
	add(imageSize, 'B', "_end")
	b := append([]byte(kerneltest.Banner+"\n\x00"), make([]byte, 16)...)
	b = b[:len(b)&^7]
	return append(b, kerneltest.Kallsyms(link, syms)...)
}

// textSection is code in which a call stands before each address that fn gives.
func textSection() []byte {
	b := bytes.Repeat([]byte{0x90}, rodata)
	for at := 0x10; at < len(b); at += fnSize {
		b[at-5] = 0xe8
	}
	return b
}

// fakeImage is the kernel's file.
func fakeImage(tb testing.TB) []byte {
	tb.Helper()
	return kerneltest.ELF(2, 62,
		kerneltest.Section{Name: ".text", Type: 1, Flags: 6, Addr: link, Data: textSection()},
		kerneltest.Section{Name: ".rodata", Type: 1, Flags: 2, Addr: link + rodata, Data: rodataSection()},
		kerneltest.Section{Name: ".data", Type: 1, Flags: 3, Addr: link + data, Data: dataSection(0)},
		kerneltest.Section{Name: ".BTF", Type: 1, Data: fakeBTF(tb)},
	)
}

func fakeKernel(tb testing.TB) *guestmem.Kernel {
	tb.Helper()
	payload := fakeImage(tb)
	table, err := kallsyms.Parse(payload, arch.X86_64)
	if err != nil {
		tb.Fatal(err)
	}
	k, err := guestmem.LoadKernel(payload, arch.X86_64, table)
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

// guest is a fake guest's RAM.
type guest []byte

func (g guest) reader() physmem.Reader {
	return physmem.New(bytes.NewReader(g), physmem.Ranges(arch.X86_64, uint64(len(g))))
}

func (g guest) put(phys, v uint64)   { le.PutUint64(g[phys:], v) }
func (g guest) put32(phys, v uint64) { le.PutUint32(g[phys:], uint32(v)) }

// early is a guest at the beginning of start_kernel: there is the image, and
// nothing is set up.
func early() guest {
	g := make(guest, ramSize)
	copy(g[physBase:], textSection())
	copy(g[physBase+rodata:], rodataSection())
	copy(g[physBase+data:], dataSection(kaslr))
	return g
}

// booted is a guest with three tasks beside its idle task, one module and a log.
func booted() guest {
	g := early()
	g.pageTables()
	g.task(taskInit, "init", 1, 1, 1, stackInit, signalInit)
	g.put(taskInit+off("task_struct", "mm"), direct+0x70000)
	g.task(taskThread, "worker \x1b[2J", 3, 1, 2, stackThread, signalInit)
	g.task(taskKthreadd, "kthreadd", 2, 2, 1, stackKth, signalKthreadd)
	g.put32(taskKthreadd+off("task_struct", "flags"), 0x200000)
	g.put(taskKthreadd+off("task_struct", "real_parent"), link+kaslr+initTask)
	tasks := off("task_struct", "tasks")
	g.list(link+kaslr+initTask+tasks, direct+taskInit+tasks, direct+taskKthreadd+tasks)
	node, head := off("task_struct", "thread_node"), off("signal_struct", "thread_head")
	g.list(direct+signalInit+head, direct+taskInit+node, direct+taskThread+node)
	g.list(direct+signalKthreadd+head, direct+taskKthreadd+node)
	g.stacks()
	g.log("Linux version", "two\nlines", "starting \x1b[2J")
	g.module()
	g.put(physBase+jiffies, 0x123456789)
	g.put(physBase+currentTask, link+kaslr+initTask)
	return g
}

// phys is the physical address of a virtual one.
func phys(va uint64) uint64 {
	if va >= link {
		return va - link - kaslr + physBase
	}
	return va - direct
}

func (g guest) list(nodes ...uint64) {
	for i, n := range nodes {
		next := nodes[(i+1)%len(nodes)]
		g.put(phys(n), next)
		g.put(phys(next)+8, n)
	}
}

func (g guest) pageTables() {
	top := uint64(physBase + topPGT)
	g.put(top+8*273, pgtDirect|0x63)
	g.put(pgtDirect, 0|0xe3) // the first GiB
	g.put(top+8*511, pgtKernel|0x63)
	g.put(pgtKernel+8*510, pgtKernel2|0x63)
	g.put(pgtKernel2+8*((link+kaslr)>>21&0x1ff), physBase|0xe3)
}

func (g guest) task(at uint64, comm string, pid, tgid, state, stack, signal uint64) {
	f := func(name string) uint64 { return at + off("task_struct", name) }
	g.put32(f("pid"), pid)
	g.put32(f("tgid"), tgid)
	g.put32(f("__state"), state)
	g.put(f("stack"), direct+stack)
	g.put(f("signal"), direct+signal)
	g.put(f("real_parent"), direct+taskInit)
	copy(g[f("comm"):f("comm")+16], comm)
}

// stacks puts PID 1 to sleep in getrandom, and the others nowhere in
// particular.
func (g guest) stacks() {
	const regs = stackInit + stackSize - 168
	for i, v := range map[uint64]uint64{15: 318, 16: 0x7f0000001234, 17: 0x33, 19: 0x7ffd00001000, 20: 0x2b, 14: 0x7fff0000, 13: 16} {
		g.put(regs+8*i, v)
	}
	frames := []string{"__schedule", "schedule", "wait_for_random_bytes", "__x64_sys_getrandom", "entry_SYSCALL_64_after_hwframe"}
	g.chain(taskInit, stackInit, direct+regs|1, frames...)
	g.chain(taskKthreadd, stackKth, 0, "__schedule", "schedule", "kthread", "ret_from_fork")
	g.chain(taskThread, stackThread, 0, "__schedule", "mutex_lock", "schedule")
	// The thread waits for a mutex that kthreadd holds.
	const waiter = stackThread + 0x3000 + 8*8
	g.put(waiter+16, direct+taskThread)
	g.list(direct+mutex+off("mutex", "wait_list"), direct+waiter)
	g.put(mutex, direct+taskKthreadd|1)
}

// chain writes a sleeping task's stack with frame pointers: struct
// inactive_task_frame, then a frame for each function.
func (g guest) chain(task, stack, last uint64, fns ...string) {
	sp := uint64(stack + 0x3000)
	g.put(task+off("task_struct", "thread"), direct+sp)
	at := sp + 5*8
	for i, f := range fns {
		next := at + 0x40
		g.put(at, direct+next)
		if i == len(fns)-1 {
			g.put(at, last)
		}
		g.put(at+8, fn(f))
		at = next
	}
}

func (g guest) log(lines ...string) {
	const bits, textBits = 4, 12
	ring := uint64(physBase + prb)
	g.put(physBase+prbPtr, link+kaslr+prb)
	d := func(name string) uint64 { return ring + off("desc_ring", name) }
	g.put32(d("count_bits"), bits)
	g.put(d("descs"), direct+ringDescs)
	g.put(d("infos"), direct+ringInfos)
	g.put(d("tail_id"), 0x100)
	g.put(d("head_id"), 0x100+uint64(len(lines))-1)
	text := ring + off("printk_ringbuffer", "text_data_ring")
	g.put32(text+off("text_data_ring", "size_bits"), textBits)
	g.put(text+off("text_data_ring", "data"), direct+ringText)
	at := uint64(3 << textBits)
	for i, l := range lines {
		id := uint64(0x100 + i)
		n := id & (1<<bits - 1)
		end := at + 8 + uint64(len(l)+7)&^7
		g.put(ringDescs+24*n, id|2<<62)
		g.put(ringDescs+24*n+8, at)
		g.put(ringDescs+24*n+16, end)
		g.put(ringText+at&(1<<textBits-1), id)
		copy(g[ringText+at&(1<<textBits-1)+8:], l)
		g.put(ringInfos+24*n+8, uint64(i)*1_500_000_000)
		le.PutUint16(g[ringInfos+24*n+16:], uint16(len(l)))
		at = end
	}
}

// module loads one, whose function wait_forever the second thread of PID 1 is
// in.
func (g guest) module() {
	g.list(link+kaslr+moduleList, direct+module)
	copy(g[module+off("module", "name"):], "unwedge_fault\x00")
	core := uint64(module) + off("module", "core_layout")
	g.put(core, direct+modText)
	g.put32(core+8, 0x1000)
	g.put(module+off("module", "kallsyms"), direct+modSyms)
	g.put(modSyms, direct+modTab)
	g.put32(modSyms+8, 3)
	g.put(modSyms+16, direct+modStr)
	copy(g[modStr:], "\x00$x\x00wait_forever\x00")
	for i, s := range []struct {
		name uint32
		addr uint64
	}{{}, {1, direct + modText}, {4, direct + modText + 0x20}} {
		at := uint64(modTab + 24*i)
		g.put32(at, uint64(s.name))
		le.PutUint16(g[at+6:], uint16(i))
		g.put(at+8, s.addr)
	}
	g[modText+0x30-5] = 0xe8
	at := uint64(stackThread) + 0x3000 + 5*8
	g.put(at+0x80+8, direct+modText+0x30)
}
