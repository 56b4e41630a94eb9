package main

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/unwedge/unwedge/images/mutate"
)

// Phase is a part of the boot, named by what begins it.
type Phase struct {
	Name string `json:"name"`
	// Functions were entered in it for the first time, in order.
	Functions []Entered `json:"functions"`
	// MaySleep says that the scheduler runs, so that a task can sleep.
	MaySleep bool `json:"may_sleep"`
}

// landmarks are functions whose first entry begins a phase, in the order of the
// boot. The initcalls among them are each among the first of their level; a
// kernel that lacks one has a phase less.
var landmarks = []struct {
	name, function string
	maySleep       bool
}{
	{"start_kernel", "start_kernel", false},
	{"kernel_init, early initcalls", "kernel_init", true},
	{"core initcalls", "driver_init", true},
	{"postcore and arch initcalls", "kobject_uevent_init", true},
	{"subsys initcalls", "genhd_device_init", true},
	{"fs initcalls", "chr_dev_init", true},
	{"initramfs, device initcalls", "populate_rootfs", true},
	{"late initcalls", "deferred_probe_initcall", true},
	{userSpace, "free_initmem", true},
}

// The phases at the ends; landmarks are in between.
const (
	noHandlers = "before start_kernel"
	userSpace  = "init and user space"
)

// phases cuts a trace into the parts of the boot.
func phases(trace []Entered) []Phase {
	out := []Phase{{Name: noHandlers}}
	for _, f := range trace {
		for _, l := range landmarks {
			if l.function == f.Name {
				out = append(out, Phase{Name: l.name, MaySleep: l.maySleep})
			}
		}
		p := &out[len(out)-1]
		p.Functions = append(p.Functions, f)
	}
	return out
}

// Mutant is one seeded fault.
type Mutant struct {
	Function string `json:"function"`
	Fault    string `json:"fault"`
	Phase    string `json:"phase"`
}

// drawn are the faults that are drawn.
var drawn = []mutate.Fault{mutate.Spin, mutate.SpinIRQsOff, mutate.Sleep, mutate.Crash, mutate.Reset}

// draw picks n mutants at random: the phases in turn, in each a function that
// it was the first to enter and a fault, each with the same chance. try says
// whether the function can be changed so; what it refuses is drawn again, and
// counted.
func draw(list []Phase, n int, seed uint64, try func(function string, f mutate.Fault) error) (out []Mutant, refused int, err error) {
	rng := rand.New(rand.NewPCG(seed, 0))
	used := map[string]bool{}
	for misses := 0; len(out) < n; {
		p := list[len(out)%len(list)]
		if misses > 2000 {
			return out, refused, fmt.Errorf("draw mutants: phase %q has no more functions that can be changed", p.Name)
		}
		misses++
		if len(p.Functions) == 0 {
			return out, refused, fmt.Errorf("draw mutants: phase %q has no functions", p.Name)
		}
		f := p.Functions[rng.IntN(len(p.Functions))].Name
		fault := drawn[rng.IntN(len(drawn))]
		if fault == mutate.Sleep && !p.MaySleep || used[f] || strings.Contains(f, ".cold") {
			continue
		}
		if err := try(f, fault); err != nil {
			refused++
			continue
		}
		misses, used[f] = 0, true
		out = append(out, Mutant{f, fault.String(), p.Name})
	}
	return out, refused, nil
}
