package inspect

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/unwedge/unwedge/harness/internal/diagnose"
	"github.com/unwedge/unwedge/harness/internal/foreign"
	"github.com/unwedge/unwedge/harness/internal/guestmem"
	"github.com/unwedge/unwedge/harness/internal/guestmem/elfdump"
	"github.com/unwedge/unwedge/harness/internal/guestmem/kdump"
	"github.com/unwedge/unwedge/harness/internal/guestmem/physmem"
	"github.com/unwedge/unwedge/harness/internal/guestmem/user"
	"github.com/unwedge/unwedge/harness/internal/identity"
	"github.com/unwedge/unwedge/harness/internal/kerneltypes"
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/harness/internal/qemuram"
	"github.com/unwedge/unwedge/harness/internal/qmp"
	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/internal/vcpu"
	"github.com/unwedge/unwedge/harness/plan"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/images/kernel"
	"github.com/unwedge/unwedge/images/rootfs"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// Options say what to read: Run, Dump, or a guest that somebody else started. Without
// Kernel, it is the run's, or looked for by what the memory says of it.
type Options struct {
	Run     string // the directory of a run whose guest was kept
	Dump    string // a file of QEMU's dump-guest-memory, instead of the kept guest's memory
	QMP     string // the socket of a QEMU's monitor
	Libvirt string // a domain of libvirt's: [URI/]DOMAIN
	Live    bool   // a guest that runs is not stopped while it is read
	Kernel  string // as `unwedge boot` takes it; "" for the run's
	Symbols string // a System.map or a vmlinux with symbols
	Planner *plan.Planner
}

// NothingError says that there is nothing to read: the guest has ended, or its kernel
// is not in memory yet.
type NothingError struct{ Err error }

func (e NothingError) Error() string { return e.Err.Error() }

func (e NothingError) Unwrap() error { return e.Err }

// Guest is a guest's memory and the kernel that says what it means.
type Guest struct {
	facts   Facts
	kernel  *kernel.Kernel
	payload []byte
	ram     physmem.Reader
	vcpus   []model.VCPU
	files   user.Files // nil where there are none
	symbols string
	types   kerneltypes.Finder // where the image has none
	closers []func() error

	foreign *foreign.Guest // somebody else's; nil for others
	live    bool           // it is not stopped
	first   []string       // files that may be the kernel's
}

// Close closes the memory and the files. The guest stays as it is.
func (g *Guest) Close() {
	for _, c := range g.closers {
		_ = c() // files that were read only
	}
}

// Open opens what the options name.
func Open(ctx context.Context, o Options) (g *Guest, err error) {
	g = &Guest{symbols: o.Symbols, facts: Facts{Version: o.Planner.Version, Hand: Hand{Host: arch.Host()}}}
	defer func() {
		if err != nil {
			g.Close()
			g = nil
		}
	}()
	run := o.Run
	var res *result.Result
	if run != "" {
		if res, err = result.Read(filepath.Join(run, rundir.Result)); err != nil {
			return g, usage.Wrap(err)
		}
		if run, err = filepath.Abs(run); err != nil {
			return g, err
		}
		g.facts.Source.Run = run
		g.facts.Run = runFacts(res)
		if err := g.openTree(o.Planner, res.Scenario); err != nil {
			return g, err
		}
	}
	want, err := g.openMemory(ctx, o, res)
	if err != nil {
		return g, err
	}
	return g, g.openKernel(ctx, o, res, want)
}

// openMemory opens the memory and says whose architecture it is.
func (g *Guest) openMemory(ctx context.Context, o Options, res *result.Result) (arch.Arch, error) {
	switch {
	case o.Dump != "":
		return g.openDump(o.Dump)
	case res != nil:
		return res.Scenario.Arch, g.openKept(ctx, res)
	default:
		return g.openForeign(ctx, o)
	}
}

// openDump opens a dump of either form.
func (g *Guest) openDump(path string) (a arch.Arch, err error) {
	if g.facts.Source.Dump, err = filepath.Abs(path); err != nil {
		return "", err
	}
	if kdump.IsFile(path) {
		d, err := kdump.Open(path)
		if err != nil {
			return "", usage.Wrap(err)
		}
		g.closers = append(g.closers, d.Close)
		g.ram, g.vcpus, g.facts.Hand.VMCoreInfo = d, d.VCPUs, d.VMCoreInfo
		return d.Arch, nil
	}
	d, err := elfdump.Open(path)
	if err != nil {
		return "", usage.Wrap(err)
	}
	g.closers = append(g.closers, d.Close)
	g.ram, g.vcpus, g.facts.Hand.VMCoreInfo = d, d.VCPUs, d.VMCoreInfo
	return d.Arch, nil
}

// openKept opens the memory of a kept guest, and asks its QEMU for the registers.
// Memory can be read without them.
func (g *Guest) openKept(ctx context.Context, res *result.Result) error {
	k := res.Kept
	if k == nil {
		return usage.Errorf("%s: no guest was kept: boot with --keep, or name a dump with --dump", g.facts.Source.Run)
	}
	size := uint64(res.Scenario.MemoryMiB) << 20
	f, err := qemuram.Open(k.PID, res.Host.Args, int64(size))
	if errors.Is(err, qemuram.ErrGone) {
		return NothingError{Err: fmt.Errorf("%s: the kept guest is gone: %w", g.facts.Source.Run, err)}
	}
	if err != nil {
		return err
	}
	g.closers = append(g.closers, f.Close)
	g.ram = physmem.New(f, physmem.RangesOn(res.Scenario.Arch, res.Scenario.MachineType(), size))
	g.facts.Source.PID, g.facts.Hand.QMP, g.facts.Hand.GDB = k.PID, k.QMP, k.GDB
	registers, err := keptRegisters(ctx, k.QMP, g)
	if err != nil {
		g.facts.Problems = append(g.facts.Problems, "the vCPUs' registers: "+err.Error()+" (is `unwedge attach` at it?)")
	}
	g.vcpus = guestmem.ParseRegisters(registers)
	return nil
}

// registersTime bounds each answer of QEMU's monitor, which serves one client at a
// time.
const registersTime = 3 * time.Second

func keptRegisters(ctx context.Context, socket string, g *Guest) (string, error) {
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
		g.facts.Problems = append(g.facts.Problems, "the guest runs: what is read changes under the reader")
	}
	_, text, err := vcpu.Registers(ctx, conn, nil)
	return text, err
}

// openKernel reads the kernel's image: the user's, or the one that the run
// booted.
func (g *Guest) openKernel(ctx context.Context, o Options, res *result.Result, want arch.Arch) error {
	switch {
	case o.Kernel == "" && res != nil:
		k, payload, err := kernel.IdentifyPayload(ctx, res.Kernel.Booted)
		if err != nil {
			return fmt.Errorf("the run's kernel: %w: name it with --kernel", err)
		}
		if res.Kernel.BuildID != "" && k.BuildID != res.Kernel.BuildID {
			return usage.Errorf("%s has changed since the run: its build ID is %s, the run's kernel had %s: name that with --kernel", k.Path, k.BuildID, res.Kernel.BuildID)
		}
		g.kernel, g.payload = k, payload
		g.types.Candidate = &candidate.Candidate{Kernel: k, Origin: res.Kernel.Origin}
	default:
		c, err := g.candidate(ctx, o, want)
		if err != nil {
			return err
		}
		g.kernel, g.types.Candidate = c.Kernel, c
		if g.payload, err = c.Kernel.Payload(ctx); err != nil {
			return err
		}
	}
	g.types.Symbols = o.Symbols
	g.types.Options = candidate.Options{Mirror: o.Planner.Mirror, Cache: o.Planner.Store}
	k := g.kernel
	if k.Arch != want {
		return usage.Errorf("%s is a kernel for %s, but the guest is %s", k.Path, k.Arch, want)
	}
	g.facts.Kernel = Kernel{Path: k.Path, Arch: k.Arch, Release: k.Release, BuildID: k.BuildID}
	g.facts.HZ = k.Config.HZ()
	g.facts.Hand.Vmlinux = withSymbols(k.Path)
	return nil
}

// candidate is the user's kernel, or the one that the memory says that it runs.
func (g *Guest) candidate(ctx context.Context, o Options, want arch.Arch) (*candidate.Candidate, error) {
	if o.Kernel != "" {
		return o.Planner.Candidate(ctx, o.Kernel, want)
	}
	running := identity.Find(ctx, g.ram)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if running.String() == "" {
		return nil, NothingError{Err: errors.New("no Linux kernel is in the guest's memory: it is not unpacked yet, or the guest runs another system")}
	}
	return o.Planner.Running(ctx, running, want, g.first)
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

// openTree opens the files that a run's root file system was made from: pages of
// a program that are not in memory are read there.
func (g *Guest) openTree(p *plan.Planner, sc scenarios.Scenario) error {
	if !sc.Root.Attached() {
		return nil
	}
	dir, ok := rootfs.Tree(rootfs.Options{Arch: sc.Arch, Release: sc.ImageRelease, Mirror: p.Mirror, Store: p.Store})
	if !ok {
		return nil
	}
	t, err := user.OpenTree(dir)
	if err != nil {
		return err
	}
	g.files = t
	g.closers = append(g.closers, t.Close)
	return nil
}

func runFacts(res *result.Result) *Run {
	sc := res.Scenario
	r := &Run{Agent: res.Reports, Scenario: &diagnose.Scenario{
		HasVirtioRNG: sc.Entropy.Device(), FIPS: sc.Initramfs.FIPS(),
		Cmdline: res.Host.Cmdline, Console: sc.Arch.Facts().Console,
	}}
	if n := len(res.Stalls); n > 0 {
		r.Busy = !res.Stalls[n-1].Idle
	}
	return r
}
