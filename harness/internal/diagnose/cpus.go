package diagnose

import (
	"fmt"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/harness/internal/vcpu"
	"github.com/unwedge/unwedge/harness/result"
)

// cpus are the virtual CPUs, as they were sampled.
type cpus []VCPU

// atRest marks the CPUs in the idle loop as idle: the load is measured for the
// guest as a whole, and one of several CPUs may cause all of it.
func atRest(sampled []VCPU) cpus {
	out := slices.Clone(sampled)
	for i := range out {
		if c := &out[i]; !c.User && vcpu.IdleFunction(functionOf(c.Symbol)) {
			c.Idle, c.BusyFraction = true, 0
		}
	}
	return out
}

// inUserMode says that no sample found a busy CPU in the kernel. Such a guest takes
// a sysrq key on its way into the kernel or out of it, which says nothing.
func (cs cpus) inUserMode() bool {
	user := false
	for _, c := range cs {
		if !c.Idle && !c.User {
			return false
		}
		user = user || c.User
	}
	return user
}

// spin is how sure it is that a busy CPU spins: one that is proven to loop does.
func (cs cpus) spin() result.Confidence {
	if slices.ContainsFunc(cs, func(c VCPU) bool { return c.Loops && !c.Idle }) {
		return result.Certain
	}
	return result.Likely
}

// prove says that a Diagnosis is a loop that is proven: what waits for it is no rival.
func (cs cpus) prove(d *result.Diagnosis) bool {
	return d.Cause == result.CauseSpin && d.Kind == result.KindLockup && cs.spin() == result.Certain
}

// allRest says that every virtual CPU of a silent guest is idle: a lockup that was
// reported earlier is over.
func allRest(f facts) bool {
	return f.in.Ending == EndingSilent && len(f.cpus) > 0 && !slices.ContainsFunc(f.cpus, func(c VCPU) bool { return !c.Idle || c.User })
}

// evidence is one line for each of the first CPUs.
func (cs cpus) evidence() []result.Evidence {
	if len(cs) == 0 {
		return nil
	}
	e := result.Evidence{What: "the virtual CPUs", Offset: -1, Source: sourceRegs}
	for i, c := range cs {
		if i == 16 {
			break
		}
		what := c.Symbol
		switch {
		case c.Idle:
			what = "idle (" + orUnknown(c.Symbol) + ")"
		case c.User:
			what = "user mode"
		}
		e.Lines = append(e.Lines, fmt.Sprintf("CPU %d: pc 0x%x, %s, %.0f %% busy", i, c.PC, orUnknown(what), c.BusyFraction*100))
	}
	return []result.Evidence{e}
}

// functionOf is the function of a symbol such as "spin_here.isra.0+0x5/0x6b".
func functionOf(symbol string) string {
	name, _, _ := strings.Cut(symbol, "+")
	return model.BaseName(name)
}
