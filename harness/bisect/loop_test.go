package bisect

import (
	"testing"

	"github.com/unwedge/unwedge/harness/internal/bisect/search"
	"github.com/unwedge/unwedge/harness/result"
)

// spins is a boot with a CPU in a loop, met in a function, and the stack below it.
func spins(cause result.Cause, fn string, stack ...string) Boot {
	lines := []string{"task:swapper/0       state:R  running task     stack:0     pid:1", "Call Trace:", " ? chance+0x1/0x2"}
	for i, f := range stack {
		stamp := ""
		if i%2 == 1 {
			stamp = "[    1.234567] "
		}
		lines = append(lines, stamp+" "+f+"+0x64/0x26c")
	}
	return BootOf(&result.Result{Outcome: "hung", Diagnosis: &result.Diagnosis{
		Kind: result.KindLockup, Cause: cause, Title: "a virtual CPU spins in " + fn, Signature: "lockup/" + string(cause) + "/" + fn, Function: fn,
		Evidence: []result.Evidence{{What: "the virtual CPUs", Lines: []string{"CPU 0: pc 0xffff8000093b6464, x+0x8/0x44, 100 % busy"}}, {What: "the stack", Lines: lines}},
	}})
}

// met is a boot whose CPU was met in several functions, and no stack was read.
func met(fn string, others ...string) Boot {
	r := &result.Result{Outcome: "hung", Diagnosis: &result.Diagnosis{
		Kind: result.KindLockup, Cause: result.CauseSpin, Signature: "lockup/cpu-spin/" + fn, Function: fn,
	}, Stalls: []result.Stall{{Registers: []result.CPUSample{{Symbol: "too_early+0x1/0x2"}}}, {}}}
	for _, o := range others {
		r.Stalls[1].Registers = append(r.Stalls[1].Registers, result.CPUSample{Symbol: o + "+0x5/0x19"}, result.CPUSample{Symbol: "idle+0x1/0x2", Halted: true})
	}
	return BootOf(r)
}

// A loop is met in any of its functions; another loop is another failure, though much
// of the way there is the same.
func TestSameLoop(t *testing.T) {
	start := []string{"do_one_initcall", "kernel_init_freeable", "kernel_init", "ret_from_fork"}
	below := func(fns ...string) []string { return append(fns, start...) }
	probe := []string{"really_probe", "driver_probe_device", "__driver_attach", "bus_for_each_dev"}
	work := []string{"deferred_probe_work_func", "process_one_work", "worker_thread", "kthread", "ret_from_fork"}
	want := spins(result.CauseSpin, "step", below("step.isra.0", "my_init")...)
	for _, c := range []struct {
		name string
		want Boot
		got  Boot
		same bool
	}{
		{"the same place", want, want, true},
		{"another function that the loop calls", want, spins(result.CauseSpin, "other_step", below("other_step", "my_init")...), true},
		{"the loop itself", want, spins(result.CauseSpin, "my_init", below()...), true},
		{"deeper", want, spins(result.CauseSpin, "read_it", below("read_it", "other_step", "my_init")...), true},
		{"another initcall", want, spins(result.CauseSpin, "step2", below("step2", "your_init")...), false},
		{"nothing but the way of all initcalls", spins(result.CauseSpin, "a_init", below()...), spins(result.CauseSpin, "b_init", below()...), false},
		{"another cause", want, spins(result.CauseSoftLockup, "other_step", below("other_step", "my_init")...), false},
		{"another driver's probe", spins(result.CauseSpin, "a_probe", append(probe, work...)...), spins(result.CauseSpin, "b_probe", append(probe, work...)...), false},
		{"no stack, both functions met", met("turn", "turn", "apic", "mix"), met("mix", "mix", "turn"), true},
		{"no stack, met by one of the two", met("turn", "turn"), met("mix", "mix", "turn"), true},
		{"no stack, another loop", met("turn", "turn", "too_early", "idle"), met("mix", "mix", "idle"), false},
		{"no stack", want, Boot{Outcome: "hung", Cause: want.Cause, Signature: "lockup/cpu-spin/x"}, false},
		{"a cause that has its place", spins(result.CauseMutex, "a", below("a", "my_init")...), spins(result.CauseMutex, "b", below("b", "my_init")...), false},
	} {
		wanted := map[bool]search.Verdict{true: search.Bad, false: search.Skip}[c.same]
		if v, why := Judge(c.got, c.want, false); v != wanted {
			t.Errorf("%s: %s (%s), want %s; stacks %q and %q", c.name, v, why, wanted, c.want.Stack, c.got.Stack)
		}
	}
}
