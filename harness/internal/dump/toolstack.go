package dump

import (
	"bytes"

	"github.com/unwedge/unwedge/harness/internal/model"
)

// toolLine reads the stacks that tools print, where no kernel stamps its lines:
//
//	[<0>] wait_for_random_bytes+0x8c/0xbb                    /proc/PID/stack
//	PID: 1   TASK: ffff9a3c80218000  CPU: 0  COMMAND: "init"  crash, bt
//	 #1 [ffffa5e540013d30] schedule at ffffffff8a9a4058       crash, bt
//	#1  schedule (kernel/sched/core.c:6765:8)                 drgn
//	#2  schedule+0x23/0x90                                    drgn without debug information
//
// The PID is that of the header or of the command before it (`cat /proc/1/stack`,
// `prog.stack_trace(1)`); without either the task has none.
func (p *parser) toolLine(b []byte, r Record) bool {
	if p.stamped || r.HasTime {
		return false
	}
	t := bytes.TrimLeft(b, " \t")
	if len(t) < 5 {
		return false
	}
	if pid, ok := askedFor(t); ok {
		p.close(r.Caller)
		p.asked = pid
		return false
	}
	if t[0] == 'P' && hasPrefix(t, "PID: ") {
		return p.crashHeader(t, r)
	}
	if t[0] != '#' && t[0] != '[' {
		return false
	}
	f, first, ok := toolFrame(t)
	if !ok {
		return false
	}
	bl := p.block(r.Caller)
	if bl != nil && bl.report >= 0 {
		return false
	}
	if bl == nil || first && len(bl.frames) > 0 {
		bl = p.newBlock()
		bl.own = model.Task{Comm: model.NoComm, PID: p.asked, State: "?", CPU: -1, Offset: r.Offset, Caller: r.Caller}
		bl.task = &bl.own
		p.start(r.Caller, bl)
		p.asked = 0
	}
	p.push(bl, f)
	bl.touch(r)
	return true
}

// askedFor is the PID in the command that prints a stack.
func askedFor(t []byte) (pid int, ok bool) {
	for _, c := range []struct{ before, after string }{{"/proc/", "/stack"}, {"stack_trace(", ")"}} {
		if i := bytes.Index(t, []byte(c.before)); i >= 0 {
			rest := t[i+len(c.before):]
			if n, k := parseDec(rest); k > 0 && hasPrefix(rest[k:], c.after) {
				return n, true
			}
		}
	}
	return 0, false
}

// crashHeader opens the task of crash's `bt`.
func (p *parser) crashHeader(t []byte, r Record) bool {
	pid, n := parseDec(bytes.TrimLeft(t[len("PID: "):], " "))
	i := bytes.Index(t, []byte("COMMAND: \""))
	if n == 0 || i < 0 || t[len(t)-1] != '"' || i+len("COMMAND: \"") >= len(t) {
		return false
	}
	comm := t[i+len("COMMAND: \"") : len(t)-1]
	bl := p.newBlock()
	bl.own = model.Task{Comm: p.intern(comm[:min(len(comm), maxComm)]), PID: pid, State: "?", CPU: -1, Offset: r.Offset, End: r.End, Caller: r.Caller}
	if j := bytes.Index(t, []byte("CPU: ")); j > 0 {
		if cpu, k := parseDec(bytes.TrimLeft(t[j+len("CPU: "):], " ")); k > 0 {
			bl.own.CPU = cpu
		}
	}
	bl.task = &bl.own
	p.start(r.Caller, bl)
	return true
}

// toolFrame reads a frame of these tools. first says that it begins a stack.
func toolFrame(t []byte) (f rawFrame, first, ok bool) {
	if t[0] == '[' {
		f, ok = parseFrame(t)
		return f, false, ok && hasPrefix(t, "[<")
	}
	n, k := parseDec(t[1:])
	if k == 0 || k > 3 || 1+k >= len(t) || t[1+k] != ' ' {
		return f, false, false
	}
	s := bytes.TrimLeft(t[1+k:], " ")
	crash := false
	if len(s) > 0 && s[0] == '[' { // the stack's address
		e := bytes.IndexByte(s, ']')
		if e < 0 || !isAddress(s[1:e]) {
			return f, false, false
		}
		s, crash = bytes.TrimLeft(s[e+1:], " "), true
	}
	if f, ok = parseFrame(s); ok {
		return f, n == 0, true
	}
	e := 0
	for e < len(s) && isSymbol(s[e]) {
		e++
	}
	if e == 0 || isDigit(s[0]) {
		return f, false, false
	}
	f.fn = s[:e]
	rest := s[e:]
	switch {
	case crash && hasPrefix(rest, " at "):
		if m := bytes.IndexByte(rest, '['); m > 0 {
			frameTail(append([]byte{' '}, rest[m:]...), &f)
		}
	case !crash && hasPrefix(rest, " (") && isSourceLine(rest[2:]):
	default:
		return f, false, false
	}
	return f, n == 0, true
}
