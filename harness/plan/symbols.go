package plan

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/unwedge/unwedge/harness/internal/guestmem"
	"github.com/unwedge/unwedge/harness/internal/guestmem/kimage"
	"github.com/unwedge/unwedge/harness/internal/guestmem/physmem"
	"github.com/unwedge/unwedge/harness/internal/guestmem/user"
	"github.com/unwedge/unwedge/harness/internal/isa"
	"github.com/unwedge/unwedge/harness/internal/stall"
	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/internal/vcpu"
	"github.com/unwedge/unwedge/images/kernel"
	"github.com/unwedge/unwedge/images/kernel/kallsyms"
	"github.com/unwedge/unwedge/images/mutate"
	"github.com/unwedge/unwedge/images/rootfs"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// image is what the kernel's file says of itself.
type image struct {
	arch    arch.Arch
	payload []byte
	symbols *kallsyms.Table
}

// lazily reads the image once, when it is asked for first: only a boot that
// stalls needs it.
func lazily(k *kernel.Kernel) func() (*image, error) {
	return sync.OnceValues(func() (*image, error) {
		payload, err := k.Payload(context.Background())
		if err != nil {
			return nil, err
		}
		t, err := kallsyms.Parse(payload, k.Arch)
		if err != nil {
			return nil, err
		}
		return &image{k.Arch, payload, t}, nil
	})
}

// memory reads what the image says of a guest's memory, once. types finds the types of
// one that has none.
func memory(image func() (*image, error), types func() (*kimage.Types, error)) func() (*guestmem.Kernel, error) {
	return sync.OnceValues(func() (*guestmem.Kernel, error) {
		i, err := image()
		if err != nil {
			return nil, err
		}
		return guestmem.LoadKernel(i.payload, i.arch, i.symbols, types)
	})
}

// describe makes what a boot asks the image. hz is its configuration's. tree is the root file system's, from which
// come the parts of libraries that are not in memory; "" where there is none.
func describe(i func() (*image, error), load func() (*guestmem.Kernel, error), hz int, tree string) stall.Image {
	return stall.Image{
		Symbol: symbols(i), HZ: func() int { return hz },
		Load: func() { _, _ = load() }, // Look says what is wrong
		Tasks: func() error {
			k, err := load()
			if err == nil && !k.SeesTasks() {
				err = errors.New("the image has no types (CONFIG_DEBUG_INFO_BTF), and init_task does not show them")
			}
			return err
		},
		Look: func(ctx context.Context, ram physmem.Reader, registers string) (*guestmem.View, error) {
			k, err := load()
			if err != nil {
				return nil, err
			}
			return k.Look(ctx, ram, registers)
		},
		UserStacks: func(ctx context.Context, ram physmem.Reader, registers string) ([]guestmem.UserStack, []string, error) {
			k, err := load()
			if err != nil {
				return nil, nil, err
			}
			var files user.Files
			if tree != "" {
				t, err := user.OpenTree(tree)
				if err != nil {
					return nil, nil, err
				}
				defer t.Close()
				files = t
			}
			return k.UserStacks(ctx, ram, guestmem.ParseRegisters(registers), files, nil)
		},
		Sleeper: func(ctx context.Context, ram physmem.Reader, registers string, pid int, functions []string) (*guestmem.Sleeper, error) {
			k, err := load()
			if err != nil {
				return nil, err
			}
			return k.Sleeper(ctx, ram, guestmem.ParseRegisters(registers), pid, functions)
		},
	}
}

// tree is the directory that the root file system of a scenario was made from.
func (p *Planner) tree(sc scenarios.Scenario) string {
	if sc.RootDir != "" {
		return sc.RootDir
	}
	if !sc.Root.Attached() {
		return ""
	}
	dir, ok := rootfs.Tree(rootfs.Options{Arch: sc.Arch, Release: sc.ImageRelease, Mirror: p.Mirror, Store: p.Store})
	if !ok {
		return ""
	}
	return dir
}

// symbols names addresses by the kernel's own table. Addresses are
// taken as they were linked, so they are right where the kernel is not moved
// (no KASLR), and unnamed or outside the table where it is. The first steps of a
// kernel run at physical addresses; these are named, too.
func symbols(image func() (*image, error)) vcpu.Symbolizer {
	return func(addr uint64) (string, bool) {
		i, err := image()
		if err != nil {
			return "", false // a kernel without the table: addresses stay numbers
		}
		t := i.symbols
		addr, ok := linked(t, i.arch, addr)
		if !ok {
			return "", false
		}
		name, off, size, ok := t.Nearest(addr)
		if !ok || size > 0 && off >= size {
			return "", false
		}
		return fmt.Sprintf("%s+%#x/%#x", name, off, size), true
	}
}

// linked returns the address that a program counter was linked at; ok is false
// where it lies outside the kernel. Symbols of another kind, such as the offsets
// of x86's per-CPU variables, which begin at 0, must not name it.
func linked(t *kallsyms.Table, a arch.Arch, pc uint64) (addr uint64, ok bool) {
	start, ok1 := t.Lookup("_text")
	end, ok2 := t.Lookup("_end")
	if !ok1 || !ok2 {
		return pc, pc>>63 == 1
	}
	if pc>>63 == 0 {
		i := isa.Of(a)
		if i == nil {
			return pc, false
		}
		pc = i.Linked(start, pc)
	}
	return pc, pc >= start && pc < end
}

// seededFault returns the ground truth that travels with a kernel that was
// changed on purpose, "" for any other.
func seededFault(path string) string {
	b, err := os.ReadFile(path + mutate.TruthSuffix)
	if err != nil || len(b) > 64<<10 {
		return ""
	}
	return string(b)
}

// seesTasks checks before a boot that counts as booted by a task that tasks can be seen.
func seesTasks(sc scenarios.Scenario, i stall.Image) error {
	sign := sc.Booted()
	if sign.Kind != scenarios.ByTask {
		return nil
	}
	if i.Tasks == nil {
		return usage.Errorf("expect %s: tasks are read from memory by the kernel's image: name the kernel that the disk brings", sign)
	}
	if err := i.Tasks(); err != nil {
		return usage.Errorf("expect %s: tasks cannot be read from this kernel's memory: %w", sign, err)
	}
	return nil
}
