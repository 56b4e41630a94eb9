package main

import (
	"math/rand/v2"
	"slices"

	"github.com/unwedge/unwedge/images/mutate"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// Mutant is one seeded fault.
type Mutant struct {
	Function string `json:"function"`
	Fault    string `json:"fault"`
	Phase    string `json:"phase"`
	// Distro says that it is booted with the distribution.
	Distro bool `json:"distro,omitempty"`
	// Without is what the kernel is not told of, "" for nothing.
	Without scenarios.Facility `json:"without,omitempty"`
	// Types are the kernel's.
	Types Types `json:"types,omitempty"`
	// Initcall says that the function is an initcall, and so run by PID 1.
	Initcall bool `json:"initcall,omitempty"`
}

// drawn are the faults that are drawn, by name: those that end a boot. What
// only returns, or returns an error, nearly always has no effect that anybody
// would notice.
var drawn = []string{"spin", "spin-irqs-off", "sleep", "crash", "reset", "leak-lock"}

// needsTask are the faults that put the caller to sleep, or another task.
func needsTask(fault string) bool { return fault == "sleep" || fault == "leak-lock" }

// perFault and perSlot are how many mutants are drawn for one place in the score,
// with one fault and in all: the first of them whose boot does not come through
// counts. A lock that nobody wants again is not missed, so another fault follows.
const perFault, perSlot = 4, 8

// slot is one place in the score and its mutants, in the order of their turns.
type slot []Mutant

// draw fills n slots at random: the phases in turn, in each phase the faults in
// turn (the first phase begins with one that is drawn, the next phase with the
// one behind it, so that all get their share), and for each slot functions that
// the phase was the first to enter, each with the same chance. try says whether
// the function can be changed so; what it refuses is drawn again, and counted. A
// phase that has no more such functions is left out from there on. Equal seeds
// give equal slots, on each arch others, and a longer draw begins with the
// shorter one.
func draw(list []Phase, n int, seed uint64, a arch.Arch, try func(function string, f mutate.Fault) error) (out []slot, refused int) {
	rng := rand.New(rand.NewPCG(seed, uint64(slices.Index(arch.All(), a))))
	var faults []mutate.Fault
	for _, name := range drawn {
		if f, err := mutate.ParseFault(name); err == nil {
			faults = append(faults, f)
		}
	}
	var decks []*deck
	first := rng.IntN(len(faults))
	for i, p := range list {
		d := &deck{phase: p, turn: first + i, rng: rand.New(rand.NewPCG(seed, rng.Uint64()))}
		for _, f := range p.Functions {
			if drawable(f.Name) {
				d.names = append(d.names, f.Name)
			}
		}
		decks = append(decks, d)
	}
	for dry := 0; len(out) < n && dry < len(decks); {
		d := decks[0]
		decks = append(decks[1:], d)
		s, no := d.slot(faults, try)
		refused += no
		if len(s) == 0 {
			dry++
			continue
		}
		for i := range s {
			s[i].Without, s[i].Types = handicaps[len(out)%len(handicaps)], typesOf(len(out))
		}
		dry, out = 0, append(out, s)
	}
	return out, refused
}

// handicaps are what the kernels of the slots, in turn, are not told of: a third
// of them cannot be asked by sysrq, or cannot answer.
var handicaps = []scenarios.Facility{"", "", scenarios.SysRq, "", "", scenarios.Console}

// deck is a phase from which functions are taken.
type deck struct {
	phase Phase
	turn  int
	rng   *rand.Rand
	names []string // not taken yet
}

// slot takes the functions of one slot: for the fault whose turn it is, and for
// those after it where that one has no effect or finds no function.
func (d *deck) slot(faults []mutate.Fault, try func(string, mutate.Fault) error) (s slot, refused int) {
	for i := range faults {
		f := faults[(d.turn+i)%len(faults)]
		if len(s) == perSlot {
			break
		}
		if needsTask(f.String()) && (!d.phase.MaySleep || len(s) > 0) {
			continue // the second choice is one that nothing can overlook
		}
		// What this fault cannot do another one may.
		var back []string
		for n := 0; n < perFault && len(d.names) > 0; {
			i := d.rng.IntN(len(d.names))
			name := d.names[i]
			d.names[i] = d.names[len(d.names)-1]
			d.names = d.names[:len(d.names)-1]
			if try(name, f) != nil {
				refused++
				back = append(back, name)
				continue
			}
			n++
			s = append(s, Mutant{Function: name, Fault: f.String(), Phase: d.phase.Name, Distro: d.phase.Distro})
		}
		d.names = append(d.names, back...)
	}
	d.turn++
	return s, refused
}
