package dump

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/model"
)

// marker reads the lines that open and close sections and reports, and those that
// name the owner of a trace.
func (p *parser) marker(b []byte, r Record) bool {
	if r.Source == SourceFirmware {
		return false
	}
	switch b[0] {
	case 's', 'S':
		if p.sysrqLine(b, r) {
			return true
		}
	case 'W':
		if hasPrefix(b, "Workqueue: ") || hasPrefix(b, "WARNING: ") {
			return p.workqueue(b, r) || p.report(b, r)
		}
	case 'C', 'P':
		if c, ok := parseCPULine(b); ok {
			p.unpark(c.cpu, r)
			p.cpuFacts(c, r)
			return true
		}
		if hasPrefix(b, "Call Trace:") || hasPrefix(b, "Call trace:") {
			p.callTrace(b[len("Call Trace:"):], r)
			return true
		}
	case 'N':
		if hasPrefix(b, "NMI backtrace for cpu ") {
			p.nmiBacktrace(b, r)
			return true
		}
	}
	if isIPLine(b) {
		if bl := p.block(r.Caller); bl != nil && bl.kernel == nil {
			bl.kernel = ipSymbol(b)
			bl.touch(r)
			return true
		}
	}
	if p.rcuTrace(b, r) || p.sectionEnd(b, r) || p.heldBy(b, r) {
		return true
	}
	return p.report(b, r)
}

// ipLines begin the line of an instruction pointer of arm64, arm, i386, riscv, powerpc
// and old x86_64, MIPS, LoongArch (until 6.1, since), s390, sparc, parisc and m68k.
var ipLines = []string{
	"pc : ", "PC is at ", "EIP: ", "EIP is at ", "epc : ", "NIP [", "IP: ",
	"epc   : ", "era   : ", "ERA: ", "Krnl PSW : ", "TPC: <", "IAOQ[0]: ", "PC: [<",
}

func isIPLine(b []byte) bool {
	if b = bytes.TrimLeft(b, " "); len(b) == 0 {
		return false
	}
	switch b[0] {
	case 'p', 'P', 'E', 'e', 'N', 'I', 'K', 'T':
		return slices.ContainsFunc(ipLines, func(s string) bool { return hasPrefix(b, s) })
	}
	return false
}

// sectionEnds are the lines that follow the tasks of a sysrq-t
// (kernel/sched/core.c show_state_filter, kernel/workqueue.c).
var sectionEnds = []string{"Sched Debug Version", "runnable tasks", "Showing busy workqueues", "Showing all locks held"}

func (p *parser) sectionEnd(b []byte, r Record) bool {
	if p.section < 0 && b[0] != 'S' {
		return false
	}
	for _, e := range sectionEnds {
		if !hasPrefix(b, e) {
			continue
		}
		if hasPrefix(b, "Showing all locks held") {
			p.locks = true
		}
		if p.section >= 0 {
			if k := p.d.Sections[p.section].Kind; k == SectionState || k == SectionBlocked {
				p.d.Sections[p.section].End = r.End
				p.closeAll()
				p.endSection(e)
			}
		}
		return true
	}
	return false
}

func (p *parser) closeAll() {
	p.parked = -1
	p.work += len(p.open)
	for _, c := range slices.SortedFunc(maps.Keys(p.open), func(a, b model.Caller) int {
		return cmp.Or(cmp.Compare(p.open[a].own.Offset, p.open[b].own.Offset), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID))
	}) {
		p.close(c)
	}
}

// endSection closes the open section. why is the evidence that it is complete, ""
// at the end of the log.
func (p *parser) endSection(why string) {
	if p.section < 0 {
		return
	}
	s := &p.d.Sections[p.section]
	p.section = -1
	closed := len(s.Tasks) == 0 || !s.Tasks[len(s.Tasks)-1].Torn
	switch s.Kind {
	case SectionState:
		// The log level suppressed a dump without a task. One without the parts
		// that follow may have been cut between two tasks.
		s.Complete = why != "" && closed && len(s.Tasks) > 0
	case SectionBlocked:
		s.Complete = closed && (why != "" || len(s.Tasks) > 0)
	case SectionCPUs:
		s.Complete = closed && s.Records > 0
	case SectionMemory, SectionLocks, SectionRegisters, SectionTimers:
		s.Complete = why != "" && s.Records > 0
	default:
		s.Complete = true
	}
	if s.Complete = s.Complete && s.Missing == 0; s.Complete {
		s.Ending = why
	}
}

// sysrqKinds are the banners of drivers/tty/sysrq.c, by their beginning.
var sysrqKinds = []struct {
	text string
	kind SectionKind
}{
	{"Show State", SectionState},
	{"Show Blocked State", SectionBlocked},
	{"Show backtrace of all active CPUs", SectionCPUs},
	{"Show Locks Held", SectionLocks},
	{"Show Memory", SectionMemory},
	{"Show Regs", SectionRegisters},
	{"Show clockevent devices", SectionTimers},
	{"Changing Loglevel", SectionLogLevel},
	{"HELP :", SectionHelp},
	{"This sysrq operation is disabled", SectionDisabled},
	{"Trigger a crash", SectionCrash},
	{"Crash", SectionCrash},
	{"Resetting", SectionReset},
}

// sysrqLine reads `SysRq : Show State` (old), `sysrq: SysRq : Show State` and
// `sysrq: Show State` (new).
func (p *parser) sysrqLine(b []byte, r Record) bool {
	t := b
	ok := false
	if hasPrefix(t, "sysrq: ") {
		t, ok = t[len("sysrq: "):], true
	}
	if hasPrefix(t, "SysRq : ") {
		t, ok = t[len("SysRq : "):], true
	}
	if !ok || hasPrefix(t, "sysrq always enabled") || hasPrefix(t, "Loglevel set") {
		return ok
	}
	if hasPrefix(t, "CPU") { // arm64's sysrq-l: `sysrq: CPU1:`
		if n, k := parseDec(t[3:]); k > 0 {
			if !bytes.Contains(t, []byte("skipped")) {
				p.cpuBlock(n, r)
			}
			return true
		}
	}
	kind := SectionOther
	for _, s := range sysrqKinds {
		if hasPrefix(t, s.text) {
			kind = s.kind
			break
		}
	}
	if kind == SectionOther && len(t) > 60 {
		return true
	}
	p.closeAll()
	p.endSection("next sysrq")
	p.locks = kind == SectionLocks
	if len(p.d.Sections) >= MaxSections {
		p.d.Dropped++
		p.dropSection()
	}
	p.d.Sections = append(p.d.Sections, Section{
		Kind: kind, Banner: clip(t), Offset: r.Offset, End: r.End, Time: r.Time,
	})
	p.section = len(p.d.Sections) - 1
	return true
}

// dropSection makes room by removing the older half of the sections.
func (p *parser) dropSection() {
	n := MaxSections / 2
	p.work += MaxSections
	for i := range n {
		p.tasks -= len(p.d.Sections[i].Tasks)
	}
	p.d.Sections = append([]Section(nil), p.d.Sections[n:]...)
}

func (p *parser) workqueue(b []byte, r Record) bool {
	if !hasPrefix(b, "Workqueue: ") {
		return false
	}
	bl := p.block(r.Caller)
	if bl == nil {
		return true
	}
	w := clip(b[len("Workqueue: "):])
	p.worker(bl, w)
	if bl.task != nil && bl.task.Workqueue == "" {
		bl.task.Workqueue = w
		bl.touch(r)
	}
	return true
}

// cpuFacts takes the task and CPU that a `CPU: ... Comm: ...` line names.
func (p *parser) cpuFacts(c cpuLine, r Record) {
	bl := p.block(r.Caller)
	if bl == nil {
		return
	}
	comm := p.intern(c.comm)
	if t := bl.task; t != nil && t.Comm == "" {
		t.Comm, t.PID = comm, c.pid
		if c.cpu >= 0 {
			t.CPU = c.cpu
		}
	}
	if bl.report >= 0 {
		rep := &p.d.Reports[bl.report]
		if rep.Comm == "" || rep.PID == 0 && rep.Comm == comm {
			rep.Comm, rep.PID = comm, c.pid
		}
		if rep.CPU < 0 {
			rep.CPU = c.cpu
		}
		rep.End = r.End
	}
}

// callTrace notes that frames follow. A second "Call Trace:" in a finished task
// begins another trace.
func (p *parser) callTrace(rest []byte, r Record) {
	if bl := p.block(r.Caller); bl != nil {
		bl.idle = 0
		if bl.report >= 0 && p.d.Reports[bl.report].Kind == ReportLockdep {
			bl.frames = bl.frames[:0] // lockdep prints where each lock was taken before
			bl.gather = false
		}
		if len(rest) > 0 { // x86_64 before 2.6.18 begins on the same line
			for _, f := range braceFrames(rest, nil) {
				p.push(bl, f)
			}
		}
		if bl.task != nil && !bl.closed {
			bl.task.End = r.End
		}
	}
}

func (p *parser) nmiBacktrace(b []byte, r Record) {
	n, k := parseDec(b[len("NMI backtrace for cpu "):])
	if k == 0 || bytes.Contains(b, []byte("skipped")) {
		return
	}
	p.unpark(n, r)
	bl := p.cpuBlock(n, r)
	if bl.report >= 0 && p.d.Reports[bl.report].CPU < 0 {
		p.d.Reports[bl.report].CPU = n
	}
}

// heldBy reads lockdep's `2 locks held by comm/123:` and, from 7.2 on,
// `locks held by comm/123: 2, last CPU#0:`.
func (p *parser) heldBy(b []byte, r Record) bool {
	const newer = "locks held by "
	if !isDigit(b[0]) && !hasPrefix(b, newer) || b[len(b)-1] != ':' {
		return false
	}
	i := bytes.Index(b, []byte(" held by "))
	if i < 0 || !bytes.Contains(b[:i], []byte("lock")) {
		return false
	}
	who := b[i+len(" held by ") : len(b)-1]
	if !isDigit(b[0]) {
		j := bytes.LastIndex(who, []byte(", last CPU#"))
		if j < 0 {
			return false
		}
		if who = who[:j]; bytes.LastIndex(who, []byte(": ")) < 0 {
			return false
		}
		who = who[:bytes.LastIndex(who, []byte(": "))]
	}
	s := bytes.LastIndexByte(who, '/')
	if s <= 0 || !allDigits(who[s+1:]) || len(p.d.Held) >= MaxReports {
		return false
	}
	pid, _ := parseDec(who[s+1:])
	p.d.Held = append(p.d.Held, Held{Comm: p.intern(who[:s]), PID: pid, Offset: r.Offset, End: r.End})
	p.locks = true
	return true
}

// lockLine reads one held lock:
//
//	#0: ffff888004d5a0e0 (&type->s_umount_key#31){++++}-{3:3}, at: super_lock+0x1f/0x30
//	#1:  (&foo->lock){+.+.}, at: [<ffffffff81234567>] foo+0x12/0x34
func (p *parser) lockLine(b []byte, r Record) bool {
	t := trim(b)
	if len(t) < 6 || t[0] != '#' || !isDigit(t[1]) {
		return false
	}
	if len(p.d.Held) == 0 {
		return true
	}
	h := &p.d.Held[len(p.d.Held)-1]
	if len(h.Locks) >= 48 { // MAX_LOCK_DEPTH
		return true
	}
	var l HeldLock
	colon := bytes.IndexByte(t, ':')
	if colon < 0 {
		return false
	}
	rest := trim(t[colon+1:])
	if sp := bytes.IndexByte(rest, ' '); sp > 0 && allHex(rest[:sp]) {
		l.Addr = string(rest[:sp])
		rest = trim(rest[sp:])
	}
	if e := bytes.Index(rest, []byte("){")); e > 0 && rest[0] == '(' {
		l.Name = clip(rest[1:e])
	}
	if at := bytes.Index(rest, []byte(", at: ")); at > 0 {
		l.At = string(ipSymbol(rest[at+6:]))
		p.heldAt(l.At, r)
	}
	h.Locks = append(h.Locks, l)
	h.End = r.End
	return true
}

// clip makes a bounded, clean string of a piece of the log.
func clip(b []byte) string {
	b = console.Strip(b[:min(len(b), 1200)])
	return strings.TrimSpace(strings.ToValidUTF8(string(b[:min(len(b), 300)]), "?"))
}
