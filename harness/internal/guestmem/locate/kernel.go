package locate

import (
	"fmt"
)

// Addr returns the run-time address of a symbol. That of a per-CPU variable
// is of no use, see PerCPU.
func (k *Kernel) Addr(name string) (uint64, bool) {
	a, ok := k.Image.Lookup(name)
	if !ok {
		return 0, false
	}
	return k.Run(a), true
}

// Run returns the run-time address of a link-time one.
func (k *Kernel) Run(link uint64) uint64 {
	if link < k.Image.Start { // absolute: not in the image, and not moved
		return link
	}
	return link + k.Offset
}

// PerCPU returns the address of a CPU's copy of a per-CPU variable, given the
// variable's link-time address. x86_64 before 6.15 links those at 0
// (arch/x86/kernel/vmlinux.lds.S), all others inside the image.
func (k *Kernel) PerCPU(link uint64, cpu int) (uint64, error) {
	base, err := k.PerCPUBase(cpu)
	if err != nil {
		return 0, err
	}
	return k.Run(link) + base, nil
}

// maxCPU bounds CPU numbers (CONFIG_NR_CPUS is at most 8192).
const maxCPU = 8192

// PerCPUBase is __per_cpu_offset of a CPU. Before setup_per_cpu_areas it is
// that of the image's own copy, for every CPU.
func (k *Kernel) PerCPUBase(cpu int) (uint64, error) {
	table, ok := k.Addr("__per_cpu_offset")
	if !ok || cpu < 0 || cpu >= maxCPU {
		return 0, fmt.Errorf("find the per-CPU memory of CPU %d: no __per_cpu_offset", cpu)
	}
	base, err := k.Space.Uint64(table + 8*uint64(cpu))
	if err != nil {
		return 0, fmt.Errorf("find the per-CPU memory of CPU %d: %w", cpu, err)
	}
	return base, nil
}
