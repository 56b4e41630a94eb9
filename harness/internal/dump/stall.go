package dump

// The traces of an RCU stall (kernel/rcu/tree_stall.h). If RCU's grace-period
// kthread is starved (rcu_check_gp_kthread_starvation), its stack comes first, and
// that of the CPU it last ran on: neither need be what blocks the grace period.
const (
	rcuThread = "RCU grace-period kthread stack dump:"
	taskDump  = "Task dump for CPU "
)

// rcuTrace reads the lines that say whose trace follows in a stall report.
func (p *parser) rcuTrace(b []byte, r Record) bool {
	t := b
	if hasPrefix(t, "rcu: ") {
		t = trim(t[len("rcu: "):])
	}
	switch {
	case hasPrefix(t, rcuThread):
		if bl := p.block(r.Caller); bl != nil && bl.want >= 0 && len(bl.frames) == 0 && p.d.Reports[bl.want].Kind == ReportRCU {
			at := bl.want
			p.close(r.Caller)
			p.parked = at
			return true
		}
	case hasPrefix(t, taskDump):
		if n, k := parseDec(t[len(taskDump):]); k > 0 {
			p.unpark(n, r)
		}
	}
	return false
}

// unpark continues a report after the stack of RCU's kthread, at the trace of a
// CPU. Traces of CPUs that did not stall are left out.
func (p *parser) unpark(cpu int, r Record) {
	if p.parked < 0 {
		return
	}
	at := p.parked
	if c := p.d.Reports[at].CPU; c >= 0 && cpu >= 0 && c != cpu {
		p.start(r.Caller, p.newBlock()) // it belongs to nothing
		return
	}
	p.start(r.Caller, p.reportBlock(at, at))
	p.parked = -1
}

// stalledCPU reads `\t1-...!: (745 ticks this GP) idle=...`, from 4.x on, the line
// of a CPU that stalls.
func stalledCPU(b []byte) (cpu int, ok bool) {
	if hasPrefix(b, "rcu: ") {
		b = b[len("rcu: "):]
	}
	n, k := parseDec(trim(b))
	if t := trim(b); k == 0 || len(t) < k+2 || t[k] != '-' || t[k+1] != '.' && t[k+1] != 'O' && t[k+1] != 'o' {
		return 0, false
	}
	return n, true
}
