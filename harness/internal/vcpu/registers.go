package vcpu

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	"github.com/unwedge/unwedge/harness/internal/isa"
	"github.com/unwedge/unwedge/harness/result"
)

// Symbolizer names a kernel address; ok is false where it cannot.
type Symbolizer func(addr uint64) (name string, ok bool)

// Registers reads all vCPUs' registers once. It returns the samples and QEMU's
// own text, which has the rest of the registers. HMP's `info registers -a` is
// the only way QEMU offers; its text is parsed for the few fields above.
func Registers(ctx context.Context, m Monitor, sym Symbolizer) ([]result.CPUSample, string, error) {
	var text string
	args := map[string]string{"command-line": "info registers -a"}
	if err := m.Execute(ctx, "human-monitor-command", args, &text); err != nil {
		return nil, "", fmt.Errorf("read registers: %w", err)
	}
	samples := Parse(text)
	for i, s := range samples {
		if sym == nil || s.User {
			continue
		}
		if name, ok := sym(s.PC); ok {
			samples[i].Symbol = name
		}
	}
	return samples, text, nil
}

// Places counts the different places in which the busiest-looking vCPU was seen:
// kernel functions where they have names, 256-byte blocks where they have not,
// pages in user mode. A vCPU that spins is seen in few, one that works in many.
func Places(samples []result.CPUSample) int {
	seen := map[int]map[string]bool{}
	most := 0
	for _, s := range samples {
		if seen[s.CPU] == nil {
			seen[s.CPU] = map[string]bool{}
		}
		seen[s.CPU][Place(s)] = true
		most = max(most, len(seen[s.CPU]))
	}
	return most
}

// minFrozen is how many samples Frozen and Rests want to see of a vCPU, and minRan how
// much of a host CPU the vCPU must have had meanwhile: one that its host does
// not run changes no register either.
const (
	minFrozen = 16
	minRan    = 200 * time.Millisecond
)

// Frozen says that no vCPU computes anything: each either idled or ran with the
// same values in all its general registers in at least half of the samples (it
// may take interrupts in the others), and one of them ran. A loop that waits for
// memory, a lock or an interrupt that never comes is frozen. One that counts,
// copies or reads a clock is not.
func Frozen(samples []result.CPUSample, loads []Load) bool {
	n, same, most, halted := map[int]int{}, map[result.CPUSample]int{}, map[int]int{}, map[int]int{}
	for _, s := range samples {
		key := result.CPUSample{CPU: s.CPU, State: s.State}
		n[s.CPU]++
		if s.Halted {
			halted[s.CPU]++ // vCPUs may share a thread, so that its load says little
		} else if s.State != 0 {
			same[key]++
			most[s.CPU] = max(most[s.CPU], same[key])
		}
	}
	stuck := false
	for _, l := range loads {
		switch {
		case l.Busy < 0.2, n[l.CPU] >= minFrozen && halted[l.CPU] == n[l.CPU]: // idle
		case l.Busy < 0.9, l.Ran < minRan, n[l.CPU] < minFrozen, 2*most[l.CPU] < n[l.CPU]:
			return false
		default:
			stuck = true
		}
	}
	return stuck
}

// Changing says that some vCPU computes: it ran, and was seen with the same values in its
// general registers in less than half of the samples.
func Changing(samples []result.CPUSample) bool {
	n, same, most := map[int]int{}, map[result.CPUSample]int{}, map[int]int{}
	for _, s := range samples {
		n[s.CPU]++
		key := result.CPUSample{CPU: s.CPU, State: s.State}
		if s.Halted {
			key.State = 0
		}
		same[key]++
		most[s.CPU] = max(most[s.CPU], same[key])
	}
	for cpu := range n {
		if 2*most[cpu] < n[cpu] {
			return true
		}
	}
	return false
}

// Rests says that every vCPU idled, in the guest's own eyes: it was seen to in at least
// four of five samples. An idle guest's thread can look busy for all that, on a host
// that makes it wait for a CPU, or whose virtualization is slow so that the guest's
// timer interrupts alone fill its time.
func Rests(samples []result.CPUSample) bool {
	n, idle := map[int]int{}, map[int]int{}
	for _, s := range samples {
		n[s.CPU]++
		if Idles(s) {
			idle[s.CPU]++
		}
	}
	for cpu := range n {
		if n[cpu] < minFrozen || 5*idle[cpu] < 4*n[cpu] {
			return false
		}
	}
	return len(n) > 0
}

// Place names what Places counts.
func Place(s result.CPUSample) string {
	switch {
	case s.User:
		return "user " + strconv.FormatUint(s.PC>>12, 16)
	case s.Symbol != "":
		name, _, _ := strings.Cut(s.Symbol, "+")
		return name
	default:
		return strconv.FormatUint(s.PC>>8, 16)
	}
}

// Parse reads the text of `info registers -a`. A vCPU whose program counter is not
// there is left out.
func Parse(text string) []result.CPUSample {
	var out []result.CPUSample
	for _, v := range isa.ParseRegisters(text) {
		s := result.CPUSample{CPU: v.Index, PC: v.PC, SP: v.SP, User: v.User, Halted: v.Halted, IRQsOff: v.IRQsOff}
		if v.General != nil {
			h := fnv.New64a()
			for _, r := range v.General {
				_ = binary.Write(h, binary.LittleEndian, r) // a hash takes everything
			}
			s.State = h.Sum64()
		}
		out = append(out, s)
	}
	return out
}

// idlers are the functions in which a CPU rests (arch/x86/kernel/process.c,
// arch/x86/include/asm/irqflags.h, arch/arm64/kernel/idle.c, kernel/sched/idle.c,
// drivers/cpuidle).
var idlers = map[string]bool{
	"native_safe_halt": true, "pv_native_safe_halt": true, "arch_safe_halt": true, "tdx_safe_halt": true, "acpi_safe_halt": true,
	"default_idle": true, "default_idle_call": true, "amd_e400_idle": true, "mwait_idle": true, "mwait_idle_with_hints": true,
	"intel_idle": true, "poll_idle": true, "cpu_idle_poll": true, "acpi_idle_do_entry": true, "arch_cpu_idle": true, "cpu_do_idle": true,
	"cpuidle_enter_state": true, "cpuidle_idle_call": true, "haltpoll_enter_idle": true, "do_idle": true,
}

// IdleFunction says that a CPU which is in the function of that name rests.
func IdleFunction(name string) bool { return idlers[name] }

// Idles says that the vCPU had nothing to do.
func Idles(s result.CPUSample) bool {
	return !s.User && (s.Halted && (s.IRQsOff == nil || !*s.IRQsOff) || IdleFunction(Place(s)))
}
