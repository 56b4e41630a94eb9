package stall

import (
	"bytes"

	"github.com/unwedge/unwedge/harness/internal/diagnose"
	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/internal/findings"
	"github.com/unwedge/unwedge/harness/internal/guestmem"
	"github.com/unwedge/unwedge/harness/internal/machine"
	"github.com/unwedge/unwedge/harness/internal/vcpu"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/images/agentproto"
	"github.com/unwedge/unwedge/scenarios"
)

// Case is what is known of a boot when it is to be diagnosed.
type Case struct {
	// Console is what the guest printed.
	Console *dump.Log
	// Repeated is how many bytes it had printed since its last progress, when it was
	// captured.
	Repeated int64
	// Agent are the reports of the guest agent, Scenario is what was booted; nil: that is
	// not known.
	Agent    []agentproto.Report
	Scenario *diagnose.Scenario
	// Outcome is how the boot ended; Hung also for one that is still being judged.
	Outcome scenarios.Outcome
	// Finding is the last capture, nil if there was none. Stale says that the boot went
	// on after it: what its tasks did then says nothing any more.
	Finding *Finding
	Stale   bool
}

// Diagnose explains it.
func (c Case) Diagnose() result.Diagnosis { return diagnose.Diagnose(c.input()) }

// Findings are the kernel's reports.
func (c Case) Findings() []result.Finding { return findings.Of(c.input().Dump) }

// Initcalls are how long the kernel's initcalls took, where it was told to print that.
func (c Case) Initcalls() (out []result.Initcall) {
	for _, i := range c.Console.Dump().Boot.Initcalls {
		name := i.Name
		if i.Module != "" {
			name += " [" + i.Module + "]"
		}
		out = append(out, result.Initcall{Name: name, Took: i.Took})
	}
	return out
}

func (c Case) input() diagnose.Input {
	in := diagnose.Input{Agent: c.Agent, Ending: endings[c.Outcome], Scenario: c.Scenario}
	console := c.Console
	if f := c.Finding; f != nil {
		in.VCPUs, in.Repeated, in.Attempts = vcpuFacts(f), c.Repeated, attempts(f.Attempts)
		for _, a := range f.Attempts {
			if in.Asked == 0 || a.From < in.Asked {
				in.Asked = a.From
			}
		}
		if v := f.View; v != nil && !c.Stale && stillRuns(c.Outcome) {
			in.Memory, in.MemoryPartial, in.Owners, in.Waits = v.Tasks, !v.Complete, v.Owners, v.Waits
			in.User = guestmem.UserFacts(f.Users)
			if f.Before != nil {
				in.MemoryBefore = f.Before.Tasks
			}
			if LogOnlyInMemory(console, v) {
				console = withMemory(console, v.Log)
			}
		}
	}
	in.Dump = console.Dump()
	return in
}

// stillRuns says that what the guest's memory showed is how it is: a guest that has
// ended went on after it was captured.
func stillRuns(o scenarios.Outcome) bool { return o == scenarios.Hung || o == scenarios.Slow }

// kernelsFirst is in the kernel's first line (init/version-timestamp.c,
// linux_banner).
const kernelsFirst = "Linux version "

// LogOnlyInMemory says that the kernel's log is in its memory and not on the console.
func LogOnlyInMemory(console *dump.Log, v *guestmem.View) bool {
	return v != nil && len(v.Log) > 0 && !console.Contains([]byte(kernelsFirst))
}

// withMemory is the console, and behind it the kernel's log as memory has it.
func withMemory(console *dump.Log, log []byte) *dump.Log {
	console = console.Fork()
	at := console.End()
	for line := range bytes.Lines(log) {
		console.Add(line, at)
		at += int64(len(line))
	}
	return console
}

var endings = map[scenarios.Outcome]diagnose.Ending{
	scenarios.Hung:      diagnose.EndingSilent,
	scenarios.Panicked:  diagnose.EndingPanicked,
	scenarios.Rebooting: diagnose.EndingReset,
	scenarios.Stopped:   diagnose.EndingShutdown,
	scenarios.Slow:      diagnose.EndingDeadline,
}

func attempts(made []result.Attempt) []diagnose.Attempt {
	var out []diagnose.Attempt
	for _, a := range made {
		out = append(out, diagnose.Attempt{
			Key: a.Key, Route: string(a.Route), Yielded: a.Yield == result.Captured || a.Yield == result.Torn, Detail: a.Note,
		})
	}
	return out
}

// Booted says what a diagnosis is told of a machine.
func Booted(m machine.Spec) *diagnose.Scenario {
	sc := m.Scenario
	return &diagnose.Scenario{
		HasVirtioRNG: sc.Entropy.Device(), FIPS: sc.Initramfs.FIPS(),
		Cmdline: m.Cmdline(), Console: sc.Arch.Facts().Console,
	}
}

// vcpuFacts folds the register samples into one fact per vCPU: where it was seen most
// often, because any one sample may lie in an interrupt.
func vcpuFacts(f *Finding) []diagnose.VCPU {
	var out []diagnose.VCPU
	at := map[int]int{}
	type place struct {
		cpu  int
		name string
	}
	seen, most := map[place]int{}, map[int]int{}
	idle, all := map[int]int{}, map[int]int{}
	for _, r := range f.Registers {
		i, ok := at[r.CPU]
		if !ok {
			i = len(out)
			at[r.CPU] = i
			out = append(out, diagnose.VCPU{Idle: f.Idle, Loops: f.Proven && !f.Idle})
			if !f.Idle {
				out[i].BusyFraction = 1
			}
		}
		all[r.CPU]++
		if vcpu.Idles(r) {
			idle[r.CPU]++
		}
		p := place{r.CPU, vcpu.Place(r)}
		seen[p]++
		if seen[p] >= most[r.CPU] {
			most[r.CPU] = seen[p]
			out[i].PC, out[i].Symbol, out[i].User = r.PC, r.Symbol, r.User
		}
	}
	for cpu, i := range at {
		if idle[cpu] == all[cpu] { // of a busy guest, not this one
			out[i].Idle, out[i].BusyFraction = true, 0
		}
	}
	return out
}
