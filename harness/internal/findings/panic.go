package findings

import (
	"slices"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/dump"
)

// carrier is a panic that says nothing by itself: a setting turns a report of one of
// these kinds into a panic.
type carrier struct {
	reason string // the panic's first line holds it
	first  bool   // the first such report of the boot, else the last one before the panic
	of     []dump.ReportKind
}

// carriers are tried in order.
var carriers = []carrier{
	// check_panic_on_warn (kernel/panic.c); before 6.2 the caller called panic itself
	{"panic_on_warn set", false, []dump.ReportKind{
		dump.ReportWarning, dump.ReportKASAN, dump.ReportCFI, dump.ReportLockdep, dump.ReportBug, dump.ReportPageAlloc,
	}},
	{"kasan.fault=", false, []dump.ReportKind{dump.ReportKASAN}},    // mm/kasan/report.c, end_report
	{"kmsan.panic set", false, []dump.ReportKind{dump.ReportKASAN}}, // mm/kmsan/report.c
	{"kfence.fault=", false, []dump.ReportKind{dump.ReportKASAN}},
	// die and oops_end of the architectures. A crash that is survived may cause the
	// next: the first says most.
	{"Fatal exception", true, crashes},
	{"Oops", true, crashes},
	{"panic_on_oops", true, crashes},
	{"Aiee, killing interrupt handler", true, crashes}, // kernel/exit.c
	{killedIdle, true, crashes},
	{killedInit, true, crashes},
	{"Asynchronous SError Interrupt", false, crashes}, // arch/arm64/kernel/traps.c
	{"kernel BUG", true, crashes},
	{"hung_task: blocked tasks", true, []dump.ReportKind{dump.ReportHungTask}}, // kernel/hung_task.c
	{"softlockup: hung tasks", true, []dump.ReportKind{dump.ReportSoft}},       // kernel/watchdog.c
	{"ard LOCKUP", true, []dump.ReportKind{dump.ReportHard}},
	{"ard lockup", true, []dump.ReportKind{dump.ReportHard}},
	{"RCU Stall", true, []dump.ReportKind{dump.ReportRCU}}, // kernel/rcu/tree_stall.h
	{"orkqueue", true, []dump.ReportKind{dump.ReportWorkqueue}},
	{"scheduling while atomic", false, []dump.ReportKind{dump.ReportBug}}, // kernel/sched/core.c, before 6.2
	{"ut of memory", false, []dump.ReportKind{dump.ReportOOM}},
}

var crashes = []dump.ReportKind{dump.ReportOops, dump.ReportBug}

// CarriedOut is the report that a panic only carries out, nil if the panic stands for
// itself.
func CarriedOut(d *dump.Dump, p *dump.Report) *dump.Report {
	if i := carriedBy(d, p); i >= 0 {
		return &d.Reports[i]
	}
	return nil
}

// carriedBy is its index, -1 for none.
func carriedBy(d *dump.Dump, p *dump.Report) int {
	found := -1
	c := carrierOf(p)
	if c == nil {
		return found
	}
	for i := range d.Reports {
		r := &d.Reports[i]
		if r.Boot != p.Boot || r.Offset >= p.Offset || !slices.Contains(c.of, r.Kind) || !c.may(p, r) {
			continue
		}
		if found = i; c.first {
			break
		}
	}
	return found
}

// may says whether a panic of PID 1 or of the idle task can come from a crash: the
// task that crashed is the one that must not end. A panic after a crash prints no task.
func (c *carrier) may(p, r *dump.Report) bool {
	switch c.reason {
	case killedInit:
		return r.PID == 1 || p.Comm != "" && r.PID == p.PID && r.Comm == p.Comm
	case killedIdle:
		return r.PID == 0
	}
	return true
}

// kernel/exit.c, do_exit
const (
	killedInit = "Attempted to kill init"
	killedIdle = "Attempted to kill the idle task"
)

func carrierOf(p *dump.Report) *carrier {
	for i := range carriers {
		if strings.Contains(p.Text, carriers[i].reason) {
			return &carriers[i]
		}
	}
	return nil
}

// carriedOut are the indices of the reports that panics carry out.
func carriedOut(d *dump.Dump) map[int]bool {
	out := map[int]bool{}
	for i := range d.Reports {
		p := &d.Reports[i]
		if p.Kind != dump.ReportPanic {
			continue
		}
		if j := carriedBy(d, p); j >= 0 {
			out[j] = true
		}
	}
	return out
}
