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

// atRest tells the CPUs that rest from those that keep the guest busy: the load
// is the guest's, and of several CPUs one may make all of it.
func atRest(sampled []VCPU) cpus {
	out := slices.Clone(sampled)
	for i := range out {
		if c := &out[i]; !c.User && vcpu.IdleFunction(functionOf(c.Symbol)) {
			c.Idle, c.BusyFraction = true, 0
		}
	}
	return out
}

// inUserMode says that the registers, read often, found no busy CPU in the kernel.
// A key that is sent to such a guest is taken on some way into the kernel or out.
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

// allRest says that the registers show every virtual CPU of a silent guest at rest:
// one that did not come back for a while has come back.
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
