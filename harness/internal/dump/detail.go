package dump

import (
	"bytes"
	"strings"
)

// reportWords is what a title needs from the lines below the first.
type reportWords struct {
	access string   // KASAN: "Read" or "Write"
	at     []string // the functions that lockdep names
	became bool     // at holds a trace that lockdep names
	seen   bool     // RCU: all CPUs have passed a quiescent state
	flight flight   // workqueue lockup: what the stuck pool works on
	work   string   // workqueue lockup: what the first worker that is shown works on
	// message is the line below the first of a Rust panic.
	message string
}

const maxAt = 24

// otherTraces are the lines before a sanitizer's traces of earlier moments: who
// allocated the memory, who freed it.
var otherTraces = []string{
	"Allocated by task", "Freed by task", "Allocated:", "Freed:", "allocated by task ", "freed by task ", "Uninit was ", "Local variable ",
	"Last potentially related work creation", "Second to last potentially related work creation", "Memory state around",
}

// detail reads a line of an open report that is not a frame.
func (p *parser) detail(bl *block, b []byte) {
	rep := &p.d.Reports[bl.report]
	said := &rep.said
	bl.gather = false
	if hasPrefix(b, "Preemption disabled at:") { // kernel/sched/core.c: one frame follows
		bl.foreign = true
		return
	}
	switch rep.Kind {
	case ReportKASAN:
		switch {
		case hasPrefix(b, "Read of size "), hasPrefix(b, "Read at addr "):
			said.access = "Read"
		case hasPrefix(b, "Write of size "), hasPrefix(b, "Write at addr "):
			said.access = "Write"
		}
		for _, s := range otherTraces {
			if hasPrefix(b, s) {
				bl.done = true
			}
		}
	case ReportLockdep:
		if bytes.Contains(b, []byte("which became ")) {
			if !said.became { // the first is the lock that must stay safe
				said.at, said.became, bl.gather = nil, true, true
			}
		} else if i := bytes.Index(b, []byte(", at: ")); i >= 0 {
			p.noteAt(said, ipSymbol(b[i+6:]))
		}
	case ReportRCU:
		rcuWords(rep, b)
	case ReportIRQ: // kernel/irq/spurious.c prints the handlers below the trace
		if hasPrefix(b, "handlers:") {
			said.at, bl.gather = nil, true
		}
	case ReportWorkqueue:
		if workqueueLine(rep, b) {
			bl.idle = 0
		}
	case ReportBug:
		if isRustPanic(rep.Text) && said.message == "" {
			said.message = clip(b)
		}
		if hasPrefix(b, "page last allocated") { // CONFIG_PAGE_OWNER: its trace follows
			bl.gather, bl.done = true, true
		}
		const last = "last function: "
		if i := bytes.Index(b, []byte(last)); i >= 0 {
			name, _, _ := bytes.Cut(b[i+len(last):], []byte("+"))
			p.noteAt(said, lastSymbol(name))
		}
	}
}

// noteAt keeps a function that the report names.
func (p *parser) noteAt(said *reportWords, fn []byte) {
	if len(fn) > 0 && len(said.at) < maxAt && !said.became {
		said.at = append(said.at, p.intern(fn))
	}
}

// noteFunc keeps a frame of a trace that the report names.
func (p *parser) noteFunc(bl *block, fn []byte) {
	if said := &p.d.Reports[bl.report].said; len(said.at) < maxAt {
		said.at = append(said.at, p.intern(fn))
	}
}

// heldAt keeps the function that took a held lock, for the reports about it.
func (p *parser) heldAt(fn string, r Record) {
	bl := p.block(r.Caller)
	if bl == nil || bl.report < 0 || fn == "" {
		return
	}
	rep := &p.d.Reports[bl.report]
	said := &rep.said
	if about := rep.Kind == ReportLockdep || strings.HasSuffix(rep.Text, "still has locks held!"); about && len(said.at) < maxAt && !said.became {
		said.at = append(said.at, fn)
	}
}

// rcuWords reads what RCU says of a stall (kernel/rcu/tree_stall.h):
//
//	1-...!: (745 ticks this GP) ...
//	All QSes seen, last rcu_preempt kthread activity 2102 (...)
//	rcu_preempt kthread timer wakeup didn't happen for 5251 jiffies! g-871 f0x0 RCU_GP_WAIT_FQS(5) ->state=0x402
//	rcu_preempt kthread starved for 2102 jiffies! g4117 f0x2 RCU_GP_WAIT_FQS(5) ->state=0x0 ->cpu=0
func rcuWords(rep *Report, b []byte) {
	if n, ok := stalledCPU(b); ok && rep.CPU < 0 {
		rep.CPU = n
	}
	b = bytes.TrimPrefix(b, []byte("rcu: "))
	if hasPrefix(b, "All QSes seen") {
		rep.said.seen = true
	}
	if kthread, _, ok := bytes.Cut(b, []byte(" kthread timer wakeup didn't happen for ")); ok && len(kthread) <= 24 {
		rep.Unwoken = string(kthread)
	}
	const starved = " kthread starved for "
	i := bytes.Index(b, []byte(starved))
	if i <= 0 || i > 24 || !rep.said.seen {
		return
	}
	rep.Starved = string(b[:i])
	const cpu = "->cpu="
	if j := bytes.Index(b, []byte(cpu)); j > 0 && rep.CPU < 0 {
		if n, k := parseDec(b[j+len(cpu):]); k > 0 {
			rep.CPU = n
		}
	}
}
