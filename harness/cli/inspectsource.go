package cli

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/unwedge/unwedge/harness/inspect"
	"github.com/unwedge/unwedge/harness/inspect/identity"
	"github.com/unwedge/unwedge/harness/inspect/qemuram"
	"github.com/unwedge/unwedge/harness/internal/diagnose"
	"github.com/unwedge/unwedge/harness/internal/guestmem"
	"github.com/unwedge/unwedge/harness/internal/guestmem/elfdump"
	"github.com/unwedge/unwedge/harness/internal/guestmem/kimage"
	"github.com/unwedge/unwedge/harness/internal/guestmem/locate"
	"github.com/unwedge/unwedge/harness/internal/guestmem/physmem"
	"github.com/unwedge/unwedge/harness/internal/guestmem/user"
	"github.com/unwedge/unwedge/harness/internal/qmp"
	"github.com/unwedge/unwedge/harness/internal/vcpu"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
	"github.com/unwedge/unwedge/images/kernel"
	"github.com/unwedge/unwedge/images/kernel/kallsyms"
	"github.com/unwedge/unwedge/images/rootfs"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// source is a guest's memory and the kernel that says what it means.
type source struct {
	facts   inspect.Facts
	kernel  *kernel.Kernel
	payload []byte
	ram     physmem.Reader
	vcpus   []guestmem.VCPU
	files   user.Files // nil where there are none
	symbols string     // --symbols
	closers []func() error
}

func (s *source) close() {
	for _, c := range s.closers {
		_ = c() // files that were read only
	}
}

// source opens what the arguments name.
func (a *app) source(ctx context.Context, run string, f inspectFlags) (s *source, err error) {
	s = &source{symbols: f.symbols, facts: inspect.Facts{Version: a.version, Hand: inspect.Hand{Host: arch.Host()}}}
	defer func() {
		if err != nil {
			s.close()
			s = nil
		}
	}()
	var res *result.Result
	if run != "" {
		if res, err = result.Read(filepath.Join(run, rundir.Result)); err != nil {
			return s, usageError{err}
		}
		if run, err = filepath.Abs(run); err != nil {
			return s, err
		}
		s.facts.Source.Run = run
		s.facts.Run = runFacts(res)
		if err := a.openTree(s, res.Scenario); err != nil {
			return s, err
		}
	}
	var want arch.Arch
	if f.dump != "" {
		want, err = s.openDump(f.dump)
	} else {
		want, err = res.Scenario.Arch, s.openKept(ctx, res)
	}
	if err != nil {
		return s, err
	}
	return s, a.inspectKernel(ctx, s, res, f.kernel, want)
}

func (s *source) openDump(path string) (arch.Arch, error) {
	d, err := elfdump.Open(path)
	if err != nil {
		return "", usageError{err}
	}
	s.closers = append(s.closers, d.Close)
	if s.facts.Source.Dump, err = filepath.Abs(path); err != nil {
		return "", err
	}
	s.ram, s.vcpus, s.facts.Hand.VMCoreInfo = d, d.VCPUs, d.VMCoreInfo
	return d.Arch, nil
}

// openKept opens the memory of a kept guest, and asks its QEMU for the registers.
// Memory can be read without them.
func (s *source) openKept(ctx context.Context, res *result.Result) error {
	k := res.Kept
	if k == nil {
		return usageError{fmt.Errorf("%s: no guest was kept: boot with --keep, or name a dump with --dump", s.facts.Source.Run)}
	}
	size := uint64(res.Scenario.MemoryMiB) << 20
	f, err := qemuram.Open(k.PID, res.Host.Args, int64(size))
	if errors.Is(err, qemuram.ErrGone) {
		return nothingError{fmt.Errorf("%s: no guest is kept any more: %w", s.facts.Source.Run, err)}
	}
	if err != nil {
		return err
	}
	s.closers = append(s.closers, f.Close)
	s.ram = physmem.New(f, physmem.Ranges(res.Scenario.Arch, size))
	s.facts.Source.PID, s.facts.Hand.QMP, s.facts.Hand.GDB = k.PID, k.QMP, k.GDB
	registers, err := keptRegisters(ctx, k.QMP, s)
	if err != nil {
		s.facts.Problems = append(s.facts.Problems, "the vCPUs' registers: "+err.Error()+" (is `unwedge attach` at it?)")
	}
	s.vcpus = guestmem.ParseRegisters(registers)
	return nil
}

// registersTime bounds each answer of QEMU's monitor, which serves one client at a
// time.
const registersTime = 3 * time.Second

func keptRegisters(ctx context.Context, socket string, s *source) (string, error) {
	conn, err := qmp.Dial(ctx, socket, qmp.Options{Timeout: registersTime})
	if err != nil {
		return "", err
	}
	defer conn.Close()
	var st struct{ Running bool }
	if err := conn.Execute(ctx, "query-status", nil, &st); err != nil {
		return "", err
	}
	if st.Running {
		s.facts.Problems = append(s.facts.Problems, "the guest runs: what is read changes under the reader")
	}
	_, text, err := vcpu.Registers(ctx, conn, nil)
	return text, err
}

// inspectKernel reads the kernel's image: the user's, or the one that the run
// booted.
func (a *app) inspectKernel(ctx context.Context, s *source, res *result.Result, arg string, want arch.Arch) error {
	if arg == "" {
		k, payload, err := kernel.IdentifyPayload(ctx, res.Kernel.Booted)
		if err != nil {
			return fmt.Errorf("the run's kernel: %w: name it with --kernel", err)
		}
		if res.Kernel.BuildID != "" && k.BuildID != res.Kernel.BuildID {
			return usageError{fmt.Errorf("%s has changed since the run: its build ID is %s, the run's kernel had %s: name that with --kernel", k.Path, k.BuildID, res.Kernel.BuildID)}
		}
		s.kernel, s.payload = k, payload
	} else {
		p, err := a.planner()
		if err != nil {
			return err
		}
		c, err := p.Candidate(ctx, arg, want)
		if err != nil {
			return err
		}
		s.kernel = c.Kernel
		if s.payload, err = c.Kernel.Payload(ctx); err != nil {
			return err
		}
	}
	k := s.kernel
	if k.Arch != want {
		return usageError{fmt.Errorf("%s is a kernel for %s, and the guest is of %s", k.Path, k.Arch, want)}
	}
	s.facts.Kernel = inspect.Kernel{Path: k.Path, Arch: k.Arch, Release: k.Release, BuildID: k.BuildID}
	s.facts.HZ = k.Config.HZ()
	s.facts.Hand.Vmlinux = withSymbols(k.Path)
	return nil
}

// withSymbols is path where that is an ELF file with a symbol table, else "".
func withSymbols(path string) string {
	f, err := elf.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	if f.SectionByType(elf.SHT_SYMTAB) == nil {
		return ""
	}
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// table is the kernel's own symbols, and those of --symbols.
func (s *source) table() (*kallsyms.Table, error) {
	table, err := kallsyms.Parse(s.payload, s.kernel.Arch)
	if s.symbols == "" {
		if err != nil {
			return nil, nothingError{fmt.Errorf("%s: %w: name its System.map or vmlinux with --symbols", s.kernel.Path, err)}
		}
		return table, nil
	}
	syms, readErr := kallsyms.ReadFile(s.symbols)
	if readErr != nil {
		return nil, usageError{readErr}
	}
	if err != nil {
		table, err = kallsyms.FromFile(syms, s.payload, s.kernel.Arch)
	} else {
		table, err = table.With(syms)
	}
	if err != nil {
		return nil, usageError{fmt.Errorf("--symbols %s: %w", s.symbols, err)}
	}
	return table, nil
}

// look reads the memory.
func (s *source) look(ctx context.Context) (*inspect.Report, error) {
	table, err := s.table()
	if err != nil {
		return nil, err
	}
	k, err := guestmem.LoadKernel(s.payload, s.kernel.Arch, table)
	if errors.Is(err, kimage.ErrNoBTF) {
		return nil, nothingError{fmt.Errorf("%s: %w", s.kernel.Path, err)}
	}
	if err != nil {
		return nil, err
	}
	s.facts.Hand.Link = k.Start()
	v, err := k.LookAt(ctx, s.ram, s.vcpus)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if errors.Is(err, locate.ErrNotLoaded) {
		if other := identity.Other(ctx, s.ram, s.kernel.Banner); other != "" {
			return nil, usageError{fmt.Errorf("the guest runs another kernel: it has %s, and %s is %s: name the guest's with --kernel", other, s.kernel.Path, identity.Short(s.kernel.Banner))}
		}
		return nil, nothingError{err}
	}
	if errors.Is(err, locate.ErrEarly) || errors.Is(err, kimage.ErrNoBTF) {
		return nil, nothingError{err}
	}
	if err != nil {
		return nil, err
	}
	if err := identity.SameBuild(s.kernel, s.payload, k.Start(), s.ram, v.PhysBase); err != nil {
		return nil, usageError{err}
	}
	s.facts.View = v
	s.users(ctx, k)
	return inspect.New(s.facts), nil
}

// usersTime bounds the reading of user-space stacks.
const usersTime = 10 * time.Second

// users reads the user-space stacks. What is not read is told.
func (s *source) users(ctx context.Context, k *guestmem.Kernel) {
	ctx, cancel := context.WithTimeout(ctx, usersTime)
	defer cancel()
	stacks, problems, err := k.UserStacks(ctx, s.ram, s.vcpus, s.files, nil)
	if err != nil {
		problems = append(problems, "user-space stacks: "+err.Error())
	}
	s.facts.Users = stacks
	s.facts.Problems = append(s.facts.Problems, problems...)
}

// openTree opens the files that a run's root file system was made from: pages of
// a program that are not in memory are read there.
func (a *app) openTree(s *source, sc scenarios.Scenario) error {
	if sc.Root != scenarios.Ext4 {
		return nil
	}
	p, err := a.planner()
	if err != nil {
		return err
	}
	dir, ok := rootfs.Tree(rootfs.Options{Arch: sc.Arch, Mirror: p.Mirror, Store: p.Store})
	if !ok {
		return nil
	}
	t, err := user.OpenTree(dir)
	if err != nil {
		return err
	}
	s.files = t
	s.closers = append(s.closers, t.Close)
	return nil
}

func runFacts(res *result.Result) *inspect.Run {
	sc := res.Scenario
	r := &inspect.Run{Agent: res.Reports, Scenario: &diagnose.Scenario{
		Entropy: string(sc.Entropy), HasVirtioRNG: sc.Entropy == scenarios.VirtioRNG, Initramfs: string(sc.Initramfs), FIPS: sc.Initramfs.FIPS(),
		Root: string(sc.Root), Cmdline: res.Host.Cmdline, Console: sc.Arch.Facts().Console,
	}}
	if n := len(res.Stalls); n > 0 {
		r.Busy = !res.Stalls[n-1].Idle
	}
	return r
}
