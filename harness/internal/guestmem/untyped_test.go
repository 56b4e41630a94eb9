package guestmem_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/harness/internal/guestmem"
	"github.com/unwedge/unwedge/harness/internal/guestmem/kimage"
	"github.com/unwedge/unwedge/harness/internal/guestmem/physmem"
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/images/kernel/kallsyms"
	"github.com/unwedge/unwedge/images/kernel/kerneltest"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// A kernel of aarch64 without types: where it is linked, loaded, and how far it was
// moved; offsets from its first byte.
const (
	bareLink  = 0xffff800008000000
	bareMoved = 0x200000
	bareRAM   = 1 << 30 // where QEMU's virt has it
	barePhys  = bareRAM + 2<<20
	bareText  = 0x1000
	bareFn    = 0x100
	bareData  = 0x8000
	bareSize  = 1 << 20
	bareStack = 0x80000 // in the image, which needs no page tables
	bareIdle  = 0x90000
	bareTask  = 0x10000 // from the start of RAM
)

var bareFunctions = strings.Fields(`_stext __switch_to cpu_switch_to __schedule schedule schedule_timeout msleep stuck_init do_one_initcall
	kernel_init_freeable kernel_init ret_from_fork kthread worker_thread cpu_do_idle do_idle cpu_startup_entry rest_init start_kernel _etext`)

func bareAt(fn string) uint64 {
	for i, f := range bareFunctions {
		if f == fn {
			return bareText + uint64(i)*bareFn
		}
	}
	panic(fn)
}

// bareImage is the kernel's Image; save is what cpu_switch_to saves.
func bareImage(save ...uint32) []byte {
	le := binary.LittleEndian
	b := make([]byte, bareData)
	copy(b, "MZ")
	le.PutUint64(b[16:], bareSize)
	le.PutUint64(b[24:], 1<<1) // pages of 4 KiB
	copy(b[56:], "ARM\x64")
	copy(b[0x400:], "Linux version 6.1.0-bare (tester) #1 SMP\n\x00")
	for i, in := range save {
		le.PutUint32(b[bareAt("cpu_switch_to")+0x10+4*uint64(i):], in)
	}
	call := bareAt("__switch_to") + 0x40
	le.PutUint32(b[call:], 0x94000000|uint32(bareAt("cpu_switch_to")-call)>>2&0x3ffffff)
	var syms []kerneltest.Symbol
	for _, f := range bareFunctions {
		syms = append(syms, kerneltest.Symbol{Off: bareAt(f) - bareText, Type: 'T', Name: f})
	}
	for i, d := range []string{"kimage_voffset", "jiffies_64", "swapper_pg_dir"} {
		syms = append(syms, kerneltest.Symbol{Off: bareData - bareText + 0x1000 + 8*uint64(i), Type: 'D', Name: d})
	}
	return append(b, kerneltest.Kallsyms(bareLink+bareText, syms)...)
}

func bareKernel(t *testing.T, save ...uint32) (*guestmem.Kernel, error) {
	t.Helper()
	b := bareImage(save...)
	table, err := kallsyms.Parse(b, arch.AArch64)
	if err != nil {
		t.Fatal(err)
	}
	return guestmem.LoadKernel(b, arch.AArch64, table, nil)
}

// bareGuest is a guest that runs it.
type bareGuest []byte

func (g bareGuest) put(phys, v uint64) { binary.LittleEndian.PutUint64(g[phys-bareRAM:], v) }

func (g bareGuest) reader() physmem.Reader {
	return physmem.New(bytes.NewReader(g), physmem.Ranges(arch.AArch64, uint64(len(g))))
}

// run is the run-time address of an offset in the image.
func run(off uint64) uint64 { return bareLink + bareMoved + off }

// chain writes frame records of functions, innermost first, and returns the first.
func (g bareGuest) chain(at uint64, fns ...string) (fp uint64) {
	for i, fn := range fns {
		next := run(at + 0x20*uint64(i+1))
		if i == len(fns)-1 {
			next = 0
		}
		g.put(barePhys+at+0x20*uint64(i), next)
		g.put(barePhys+at+0x20*uint64(i)+8, run(bareAt(fn)+0x20))
	}
	return run(at)
}

// saved writes a task's saved registers.
func (g bareGuest) saved(task, fp, sp uint64) {
	g.put(bareRAM+task, fp)
	g.put(bareRAM+task+8, sp)
	g.put(bareRAM+task+16, run(bareAt("__switch_to")+0x44))
}

var stuckInit = strings.Fields("__schedule schedule schedule_timeout msleep stuck_init do_one_initcall kernel_init_freeable kernel_init ret_from_fork")

func newBareGuest() bareGuest {
	g := make(bareGuest, 4<<20)
	copy(g[barePhys-bareRAM:], bareImage(0xa881251d, 0xf900011e))
	g.put(barePhys+bareData+0x1000, run(0)-barePhys) // kimage_voffset
	g.put(barePhys+bareData+0x1008, 4321)
	fp := g.chain(bareStack, stuckInit...)
	g.saved(bareTask, fp, fp)
	other := g.chain(bareStack+0x4000, strings.Fields("__schedule schedule worker_thread kthread ret_from_fork")...)
	g.saved(bareTask+0x1000, other, other)
	return g
}

// idling is a vCPU in the idle loop.
func (g bareGuest) idling() []model.VCPU {
	fp := g.chain(bareIdle, "do_idle", "cpu_startup_entry", "rest_init")
	return []model.VCPU{{Registers: model.Registers{PC: run(bareAt("cpu_do_idle") + 8), SP: fp, FP: fp}}}
}

// Without types the stack of PID 1 is found while it starts the kernel up.
func TestKernelWithoutTypes(t *testing.T) {
	k, err := bareKernel(t, 0xa881251d, 0xf900011e)
	if err != nil {
		t.Fatal(err)
	}
	g := newBareGuest()
	v, err := k.LookAt(t.Context(), g.reader(), g.idling())
	if err != nil {
		t.Fatal(err)
	}
	if v.Complete || len(v.Tasks) != 1 || v.Jiffies != 4321 || v.Offset != bareMoved {
		t.Fatalf("%+v", v)
	}
	p := v.Tasks[0]
	if p.PID != 1 || p.State != "?" || !p.Has("stuck_init") || !p.Has("kernel_init") || p.Has("worker_thread") || len(p.Frames) != 1+len(stuckInit) {
		t.Errorf("%+v", p)
	}
	if _, _, err := k.UserStacks(t.Context(), g.reader(), g.idling(), nil, nil); !errors.Is(err, kimage.ErrNoBTF) {
		t.Errorf("user stacks: %v", err)
	}
	if _, err := k.Sleeper(t.Context(), g.reader(), g.idling(), 1, nil); !errors.Is(err, kimage.ErrNoBTF) {
		t.Errorf("sleeper: %v", err)
	}
}

// A vCPU that runs it shows it as well.
func TestTheBootRuns(t *testing.T) {
	k, err := bareKernel(t, 0xa881251d, 0xf900011e)
	if err != nil {
		t.Fatal(err)
	}
	for pid, stack := range [][]string{{"do_one_initcall", "start_kernel"}, {"do_one_initcall", "kernel_init_freeable", "kernel_init", "ret_from_fork"}} {
		g := newBareGuest()
		fp := g.chain(bareIdle, stack...)
		v, err := k.LookAt(t.Context(), g.reader(), []model.VCPU{{Registers: model.Registers{PC: run(bareAt("stuck_init") + 8), SP: fp, FP: fp}}})
		if err != nil {
			t.Fatal(err)
		}
		if len(v.Tasks) != 1 || v.Tasks[0].PID != pid || !v.Tasks[0].Running || !v.Tasks[0].Has("stuck_init") || v.CPUs[0].PID != pid {
			t.Errorf("PID %d: %+v", pid, v)
		}
	}
}

// What cannot be verified is not told.
func TestStartUpIsVerified(t *testing.T) {
	k, err := bareKernel(t, 0xa881251d, 0xf900011e)
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(g bareGuest) []model.VCPU{
		"there are two": func(g bareGuest) []model.VCPU {
			fp := g.chain(bareStack+0x8000, stuckInit...)
			g.saved(bareTask+0x2000, fp, fp)
			return g.idling()
		},
		"it is a kernel thread's": func(g bareGuest) []model.VCPU {
			g.put(barePhys+bareStack+0x20*7+8, run(bareAt("kthread")+0x20))
			return g.idling()
		},
		"a record leads nowhere": func(g bareGuest) []model.VCPU {
			g.put(barePhys+bareStack+0x20*3, run(0x7f0000000))
			return g.idling()
		},
		"a return address is no code": func(g bareGuest) []model.VCPU {
			g.put(barePhys+bareStack+0x20*4+8, run(bareData))
			return g.idling()
		},
		"the records go back": func(g bareGuest) []model.VCPU {
			g.put(barePhys+bareStack+0x20*4, run(bareStack+0x20*2))
			return g.idling()
		},
		"a vCPU is busy, perhaps with it": func(g bareGuest) []model.VCPU {
			fp := g.chain(bareIdle, "do_one_initcall", "kernel_init_freeable")
			g.put(barePhys+bareIdle+0x20, run(0x7f0000000)) // its stack ends nowhere
			return []model.VCPU{{Registers: model.Registers{PC: run(bareAt("stuck_init") + 8), SP: fp, FP: fp}}}
		},
		"what the vCPUs do is not known": func(bareGuest) []model.VCPU { return nil },
	} {
		g := newBareGuest()
		vcpus := spoil(g)
		if v, err := k.LookAt(t.Context(), g.reader(), vcpus); v != nil || !errors.Is(err, kimage.ErrNoBTF) {
			t.Errorf("%s: %+v, %v", name, v, err)
		}
	}
}

// A kernel that saves its registers in another way is not guessed at.
func TestUnknownSwitch(t *testing.T) {
	if k, err := bareKernel(t, 0xa881251d); k != nil || !errors.Is(err, kimage.ErrNoBTF) {
		t.Errorf("%v, %v", k, err)
	}
}
