package dump

import (
	"bytes"
	"maps"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/model"
)

// Parse reads a whole log. The Dump keeps a reference to log for Evidence.
func Parse(log []byte) *Dump {
	p := newParser()
	for r := range Records(log) {
		p.add(r)
	}
	d := p.dump()
	d.Bytes, d.text = int64(len(log)), []piece{{text: log}}
	return d
}

// parser builds a Dump record by record. Record.Text is not kept, so the caller
// may reuse it.
type parser struct {
	d *Dump

	names map[string]string // interned function names, bounded
	slab  []model.Frame     // finished frames are cut from slabs
	free  [][]model.Frame   // scratch of closed blocks
	spare []*block          // closed blocks, at most maxOpen and one

	open    map[model.Caller]*block // open traces; zero Caller for logs without IDs
	last    *block                  // the block of lastKey, to spare a map look-up
	lastKey model.Caller
	tasks   int // kept over all sections

	asked   int  // the PID whose stack a command of a tool prints next
	stamped bool // the kernel's lines carry stamps
	seen    int  // lines with a stamp, in a log without a banner
	parked  int  // RCU report whose stack comes after that of RCU's kthread, -1 for none
	// halfTask is the end of a line of khungtaskd that breaks off in a task's name.
	halfTask int64
	stuck    int            // report of a stuck CPU that may lack its trace, -1 for none
	section  int            // index of the open section, -1 if none
	locks    bool           // inside a list of held locks
	events   map[string]int // event key -> index
	calls    []Event        // initcalls that have not returned
	work     int            // bytes and things looked at, for a test that it is linear
}

// block is a trace that is being read: a task's, a report's, or both.
type block struct {
	task    *model.Task // nil, or &own
	own     model.Task
	report  int // index into d.Reports, -1 if none
	dest    int // section index the task goes to, -1 loose
	frames  []model.Frame
	regs    userRegs
	kernel  []byte
	started bool // frames have been seen
	closed  bool // an end of trace has been seen
	idle    int  // records since the last that belonged to it
	end     int64
	want    int  // hung-task report that waits for its header, -1
	done    bool // what follows are other traces of the same report
	gather  bool // the frames that follow are the report's own words
	foreign bool // the next frame is no part of the trace
	also    int  // another report whose trace this is, -1 for none
}

// maxOpen bounds the open traces; maxIdle is how many foreign records a trace
// survives.
const (
	maxOpen  = 256
	maxIdle  = 64
	maxNames = 1 << 16
)

// newParser returns an empty parser.
func newParser() *parser {
	return &parser{
		d:       &Dump{},
		names:   make(map[string]string, 1024),
		open:    make(map[model.Caller]*block),
		parked:  -1,
		stuck:   -1,
		section: -1,
		events:  make(map[string]int),
	}
}

// dump closes what is open and returns the result. It ends the parser.
func (p *parser) dump() *Dump {
	p.closeAll()
	p.endSection("")
	p.d.Boot.Events = append(p.d.Boot.Events, p.calls...)
	p.d.Boot.finish()
	p.finishTitles()
	return p.d
}

// clone returns a parser that goes on from here by itself. What is settled, such
// as the frames of a task, is shared; what is still written to is copied.
func (p *parser) clone() *parser {
	q, d := *p, *p.d
	d.Sections = slices.Clone(d.Sections)
	for i := range d.Sections {
		d.Sections[i].Tasks = slices.Clip(d.Sections[i].Tasks)
	}
	d.Reports = slices.Clone(d.Reports)
	for i := range d.Reports {
		d.Reports[i].said.at = slices.Clip(d.Reports[i].said.at)
	}
	d.Held = slices.Clone(d.Held)
	for i := range d.Held {
		d.Held[i].Locks = slices.Clip(d.Held[i].Locks)
	}
	d.Loose, d.Owners = slices.Clip(d.Loose), slices.Clip(d.Owners)
	b := &d.Boot
	b.Kernels, b.Events, b.last = slices.Clone(b.Kernels), slices.Clone(b.Events), slices.Clone(b.last)
	q.d, q.events, q.calls = &d, maps.Clone(p.events), slices.Clone(p.calls)
	q.names, q.slab, q.free, q.spare, q.last = make(map[string]string), nil, nil, nil, nil
	q.open = make(map[model.Caller]*block, len(p.open))
	for c, bl := range p.open {
		q.open[c] = bl.clone()
	}
	return &q
}

func (bl *block) clone() *block {
	c := *bl
	c.frames = slices.Clone(bl.frames)
	if bl.task != nil {
		c.task = &c.own
	}
	return &c
}

// gap notes that n bytes of the log are missing here.
func (p *parser) gap(n int64) {
	p.d.Missing += n
	p.closeAll()
	p.locks = false
	if p.section >= 0 {
		p.d.Sections[p.section].Missing += n
	}
}

// add reads one record.
func (p *parser) add(r Record) {
	p.d.Records++
	b := r.Text
	p.work += len(b)
	if p.section >= 0 {
		s := &p.d.Sections[p.section]
		s.Records++
		if r.Source == SourceKernel {
			s.End = r.End
		}
	}
	p.stamps(r)
	if p.users(r) {
		if p.imitates(b) {
			p.event(Event{Kind: EventImitation}, b, r)
		}
		p.other(b, r)
		return
	}
	// Most lines of a dump are frames, and they begin with a blank; pasted text may
	// have lost it.
	if b[0] == ' ' || b[0] == '[' || b[0] == '\t' || p.bareFrame(b, r) {
		if p.locks && p.lockLine(b, r) {
			return
		}
		if p.frame(b, r) {
			return
		}
	}
	if p.toolLine(b, r) {
		return
	}
	if b[0] == 'R' && p.registers(b, r) {
		return
	}
	if h, ok := parseHeader(b); ok {
		p.header(h, r)
		return
	}
	if p.marker(b, r) {
		return
	}
	p.other(b, r)
}

// bareFrame says that a line may belong to a trace although no blank begins it.
func (p *parser) bareFrame(b []byte, r Record) bool {
	switch {
	case b[0] == '<' || b[0] == '?':
		return p.block(r.Caller) != nil
	case b[0] == '#':
		return p.locks
	case !isSymbol(b[0]) || p.block(r.Caller) == nil:
		return false
	}
	n := 1
	for n < len(b) && isSymbol(b[n]) {
		n++
	}
	return n+3 < len(b) && (string(b[n:n+3]) == "+0x" || b[n] == ' ' && p.block(r.Caller).started && oddFrame(b[n+1:]))
}

// oddFrame says that the words behind a symbol are those of a frame in one of the
// rarer forms.
func oddFrame(b []byte) bool { return b[0] == '(' && isSourceLine(b[1:]) || hasPrefix(b, "from ") }

// enoughStamps is how many stamped lines show that the kernel stamps its lines, in
// a log without a banner: a program may print something similar.
const enoughStamps = 8

// stamps finds out whether the kernel stamps its lines: its banner shows it.
func (p *parser) stamps(r Record) {
	switch {
	case r.Source != SourceKernel:
	case hasPrefix(r.Text, "Linux version "):
		p.stamped = r.HasTime
	case r.HasTime && p.d.Boot.KernelCount == 0:
		p.seen++
		p.stamped = p.seen >= enoughStamps
	}
}

// users says that user space certainly wrote a record: where the kernel stamps its
// lines, those without a stamp and those with a program's name are not its own,
// whatever they say about panics and tasks.
func (p *parser) users(r Record) bool { return p.stamped && r.Source == SourceUserspace }

// imitates recognises what only a kernel has reason to print.
func (p *parser) imitates(b []byte) bool {
	if _, ok := parseHeader(b); ok || hasPrefix(b, "sysrq: ") || hasPrefix(b, "SysRq : ") {
		return true
	}
	for _, x := range reportPrefixes {
		b = bytes.TrimPrefix(b, []byte(x))
	}
	if len(b) < 5 {
		return false
	}
	switch reportKind(b) {
	case ReportPanic, ReportOops, ReportBug, ReportSoft, ReportHard:
		return true
	}
	return false // anybody may print "WARNING: "
}

// block returns the open block of a caller, nil if there is none.
func (p *parser) block(c model.Caller) *block {
	if p.last != nil && p.lastKey == c {
		return p.last
	}
	bl := p.open[c]
	if bl != nil {
		p.last, p.lastKey = bl, c
	}
	return bl
}

func (p *parser) start(c model.Caller, bl *block) {
	p.close(c)
	if len(p.open) >= maxOpen {
		for k := range p.open { // a hostile log: any will do
			p.close(k)
			break
		}
	}
	p.open[c] = bl
	p.last, p.lastKey = bl, c
}

// header opens a task.
func (p *parser) header(h header, r Record) {
	bl := p.newBlock()
	bl.task = &bl.own
	t := bl.task
	*t = model.Task{
		Comm: p.intern(h.comm), PID: h.pid, TGID: h.tgid, PPID: h.ppid,
		State: stateNames[h.state&0x7f], Running: h.running, Flags: h.flags, TaskFlags: h.taskFlags,
		CPU: -1, Offset: r.Offset, End: r.End, Caller: r.Caller,
	}
	const pfKThread = 0x00200000 // include/linux/sched.h
	if h.hasTaskFlags {
		t.KernelThread = h.taskFlags&pfKThread != 0
	} else {
		t.KernelThread = h.ppid == 2 || h.pid == 2
	}
	if i := p.waiting(r.Caller, h.pid); i >= 0 {
		bl.report = i // the stack that a report announced
		rep := &p.d.Reports[i]
		rep.State, rep.PID, rep.Comm = t.State, t.PID, t.Comm
	} else if s := p.section; s >= 0 {
		switch p.d.Sections[s].Kind {
		case SectionState, SectionBlocked:
			bl.dest = s
		}
	}
	p.start(r.Caller, bl)
}

// cpuBlock opens the trace of a CPU.
func (p *parser) cpuBlock(cpu int, r Record) *block {
	bl := p.newBlock()
	bl.own = model.Task{CPU: cpu, State: "R", Running: true, Offset: r.Offset, End: r.End, Caller: r.Caller}
	bl.task, bl.report = &bl.own, p.waiting(r.Caller, -1)
	if bl.report < 0 {
		bl.report = p.stuckOn(cpu)
	}
	if s := p.section; s >= 0 && p.d.Sections[s].Kind == SectionCPUs {
		bl.dest = s
	}
	p.start(r.Caller, bl)
	return bl
}

// waiting returns the report of the caller's open block if it still lacks the
// stack of task pid (of any task if pid is negative), else -1.
func (p *parser) waiting(c model.Caller, pid int) int {
	bl := p.block(c)
	if bl == nil || bl.want < 0 || len(bl.frames) > 0 {
		return -1
	}
	if rep := &p.d.Reports[bl.want]; pid >= 0 && rep.PID > 0 && rep.PID != pid {
		return -1
	}
	return bl.want
}

// stuckOn returns the report of a stuck CPU that lacks its trace, -1 for none: the
// CPU prints that itself, as another caller than the one that noticed.
func (p *parser) stuckOn(cpu int) int {
	if p.stuck < 0 || p.stuck >= len(p.d.Reports) {
		return -1
	}
	at := p.stuck
	if rep := &p.d.Reports[at]; len(rep.Frames) > 0 || rep.CPU >= 0 && rep.CPU != cpu {
		return -1
	}
	for _, bl := range p.open {
		if bl.report == at && len(bl.frames) > 0 {
			return -1
		}
	}
	p.work += len(p.open)
	p.stuck = -1
	return at
}

// close finishes the block of a caller.
func (p *parser) close(c model.Caller) {
	bl := p.open[c]
	if bl == nil {
		return
	}
	delete(p.open, c)
	if p.lastKey == c {
		p.last = nil
	}
	frames := p.settle(bl)
	p.work += len(frames)
	if t := bl.task; t != nil {
		t.Frames = frames
		t.Syscall = bl.regs.syscall(p.d.Arch, frames)
		t.UserIP = bl.regs.ip
		t.Torn = !bl.closed && !EndsStack(frames) && !(len(frames) == 0 && (t.Running || t.State == "Z" || t.State == "X"))
		if !t.KernelThread && t.TaskFlags == 0 && t.PID != 1 && t.Syscall == nil && len(frames) > 0 && isKthreadStack(frames) {
			t.KernelThread = true
		}
		if t.KernelThread && t.TaskFlags == 0 && t.PID != 2 && fromUser(frames) {
			t.KernelThread = false // a usermode helper: kthreadd is its parent, too
		}
		p.keep(*t, bl.dest)
	}
	if bl.report >= 0 && bl.report < len(p.d.Reports) {
		rep := &p.d.Reports[bl.report]
		if len(rep.Frames) == 0 {
			rep.Frames = frames
		}
		if rep.IP == "" && bl.kernel != nil {
			rep.IP = string(bl.kernel)
		}
		rep.End = max(rep.End, bl.end)
		if bl.task != nil {
			rep.End = max(rep.End, bl.task.End)
		}
	}
	if also := bl.also; also >= 0 && also < len(p.d.Reports) && len(p.d.Reports[also].Frames) == 0 {
		p.d.Reports[also].Frames = frames
	}
	*bl = block{}
	p.spare = append(p.spare, bl)
}

// reportBlock returns the block of a report; want is the report if the header of a
// task is still to come, else -1.
func (p *parser) reportBlock(report, want int) *block {
	bl := p.newBlock()
	bl.report, bl.want = report, want
	return bl
}

// newBlock returns a block that belongs to nothing yet.
func (p *parser) newBlock() *block {
	if n := len(p.spare); n > 0 {
		bl := p.spare[n-1]
		p.spare = p.spare[:n-1]
		bl.report, bl.dest, bl.want, bl.also = -1, -1, -1, -1
		return bl
	}
	return &block{report: -1, dest: -1, want: -1, also: -1}
}

// stateNames spare an allocation for each task.
var stateNames = func() (out [128]string) {
	for i := range out {
		out[i] = string(rune(i))
	}
	return out
}()

// fromUser says that a stack ends where user space entered the kernel.
func fromUser(frames []model.Frame) bool {
	if !EndsStack(frames) {
		return false
	}
	switch b := frames[len(frames)-1].Base(); {
	case b == "kthread", strings.HasPrefix(b, "ret_from_fork"), strings.Contains(b, "startup_64"), b == "kernel_thread_helper":
		return false
	}
	return frames[len(frames)-1].Reliable
}

func isKthreadStack(frames []model.Frame) bool {
	for _, f := range frames {
		if f.Reliable && f.Base() == "kthread" {
			return true
		}
	}
	return false
}

// EndsStack says whether the outermost frame is where stacks end.
func EndsStack(frames []model.Frame) bool {
	if len(frames) == 0 {
		return false
	}
	switch frames[len(frames)-1].Base() {
	case "ret_from_fork", "ret_from_fork_asm", "kthread", "el0t_64_sync", "el0t_32_sync", "el0_sync", "el0_svc_naked", "el0_svc",
		"entry_SYSCALL_64_after_hwframe", "entry_SYSCALL_64_fastpath", "entry_SYSCALL_64_after_swapgs", "system_call_fastpath",
		"ret_fast_syscall", "secondary_startup_64", "secondary_startup_64_no_verify", "kernel_thread_helper",
		"entry_SYSENTER_compat_after_hwframe", "entry_INT80_compat", "common_startup_64", "sysenter_past_esp", "tracesys", "syscall_call":
		return true
	}
	return false
}

// keep stores a task within the limit.
func (p *parser) keep(t model.Task, dest int) {
	if p.tasks >= MaxTasks && !p.evict(dest) {
		p.d.Dropped++
		if dest >= 0 {
			p.d.Sections[dest].Dropped++
		}
		return
	}
	p.tasks++
	if dest >= 0 {
		p.d.Sections[dest].Tasks = append(p.d.Sections[dest].Tasks, t)
		return
	}
	p.d.Loose = append(p.d.Loose, t)
}

// evict drops the tasks of the oldest other section: the newest dump is kept.
func (p *parser) evict(dest int) bool {
	for i := range p.d.Sections {
		p.work++
		if s := &p.d.Sections[i]; i != dest && len(s.Tasks) > 0 {
			p.tasks -= len(s.Tasks)
			p.d.Dropped += len(s.Tasks)
			s.Dropped += len(s.Tasks)
			s.Tasks, s.Complete = nil, false
			return true
		}
	}
	return false
}
