package main

import (
	"fmt"
	"strings"

	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// shortMutants are the mutants of the short score: each fault once, in functions
// that every boot passes.
var shortMutants = map[arch.Arch][]Mutant{
	arch.X86_64: {
		{Function: "chr_dev_init", Fault: "spin", Phase: "fs initcalls", Initcall: true},
		{Function: "register_filesystem", Fault: "leak-lock", Phase: "start_kernel"},
		{Function: "inet_init", Fault: "crash", Phase: "fs initcalls", Initcall: true},
	},
	arch.AArch64: {
		{Function: "tty_init", Fault: "spin-irqs-off", Phase: "fs initcalls"},
		{Function: "chr_dev_init", Fault: "sleep", Phase: "fs initcalls", Initcall: true},
		{Function: "driver_register", Fault: "reset", Phase: "core initcalls"},
	},
}

// shortFaults are the faults of user space in it.
var shortFaults = map[arch.Arch][]string{arch.X86_64: {"child:flock"}, arch.AArch64: {"exit"}}

// shortPlaces are the seeds of the short score. They are not drawn, so that a
// failure is the change's that was made, and not the draw's.
func (b *bench) shortPlaces() []spot {
	var out []spot
	for _, m := range shortMutants[b.arch] {
		out = append(out, spot{b.mutantSeed(m)})
	}
	for _, u := range userFaults {
		for _, name := range shortFaults[b.arch] {
			if u.name == name {
				out = append(out, spot{b.userSeed(u)})
			}
		}
	}
	if b.arch == arch.X86_64 {
		out = append(out, spot{b.entropySeed()})
	}
	return out
}

// allRight returns an error that names what was not right.
func (c *Card) allRight() error {
	var bad []string
	for _, s := range c.Scores {
		if s.Verdict != Right {
			bad = append(bad, fmt.Sprintf("%s: %s: %q %s (%s)", s.ID, s.Verdict, s.Title, s.Note, s.Dir))
		}
	}
	for _, h := range c.Healthy {
		if h.Outcome != scenarios.Booted {
			bad = append(bad, fmt.Sprintf("healthy %s%s: %s: %s (%s)", h.Cell, h.how(), h.Outcome, h.Note, h.Dir))
		}
	}
	if len(bad) > 0 {
		return fmt.Errorf("not all right: %s", strings.Join(bad, "; "))
	}
	return nil
}
