// Package guestmem looks into a guest that cannot answer: it reads its tasks,
// their kernel stacks and its log from its memory, from outside, with nothing
// but the kernel's image. Its parts:
//
//	physmem  guest-physical memory
//	elfdump  a dump of it
//	mmu      page tables
//	kimage   symbols and types of the image
//	locate   where the kernel is
//	tasks    the list of tasks
//	modules  the loaded modules and their symbols
//	timers   what will wake a task
//	pending  all that the kernel has set its clock for
//	unwind   kernel stacks
//	locks    who holds the lock that a task waits for
//	objects  what else a task waits for, and who could end that
//	printk   the kernel's log
//	user     user-space stacks
//	infer    types where neither the image nor anything else has them
//	startup  the stack of PID 1 where they cannot be inferred
//
// The guest is hostile, and it may run while it is read: every loop and
// allocation is bounded, and what cannot be read is reported in View.Problems.
package guestmem

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/unwedge/unwedge/harness/internal/guestmem/infer"
	"github.com/unwedge/unwedge/harness/internal/guestmem/kimage"
	"github.com/unwedge/unwedge/harness/internal/guestmem/locate"
	"github.com/unwedge/unwedge/harness/internal/guestmem/locks"
	"github.com/unwedge/unwedge/harness/internal/guestmem/modules"
	"github.com/unwedge/unwedge/harness/internal/guestmem/objects"
	"github.com/unwedge/unwedge/harness/internal/guestmem/pending"
	"github.com/unwedge/unwedge/harness/internal/guestmem/physmem"
	"github.com/unwedge/unwedge/harness/internal/guestmem/printk"
	"github.com/unwedge/unwedge/harness/internal/guestmem/startup"
	"github.com/unwedge/unwedge/harness/internal/guestmem/tasks"
	"github.com/unwedge/unwedge/harness/internal/guestmem/timers"
	"github.com/unwedge/unwedge/harness/internal/guestmem/user"
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/images/kernel/kallsyms"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// Kernel is what an image says: symbols, types, layouts. Made once per boot; it
// may be used by many goroutines.
type Kernel struct {
	img     *kimage.Image
	finder  *locate.Finder
	tasks   *tasks.Layout
	log     *printk.Layout // nil: the log cannot be read
	noLog   error          // why
	mods    *modules.Layout
	noMods  error
	locks   *locks.Layout
	waits   *objects.Layout
	timers  *timers.Layout // nil: what will wake a task cannot be read
	clock   *pending.Layout
	noClock error        // why the kernel's timers cannot be listed
	user    *user.Layout // nil: user space cannot be read
	noUser  error
	// noTypes says why the image has no types, nil where it has. infers says that
	// they can be inferred; start, which may be nil, finds PID 1 where they cannot.
	noTypes error
	infers  bool
	start   *startup.Finder
}

// LoadKernel reads the image: payload is what kernel.Kernel.Payload gives, table
// its symbols. Both are kept and must not change. more finds the types of an image
// that has none itself; nil: they are nowhere else. Then they are inferred in each
// guest's memory, as far as they can be verified there. A kernel of which nothing can be
// said gives an error that is kimage.ErrNoBTF.
func LoadKernel(payload []byte, a arch.Arch, table *kallsyms.Table, more func() (*kimage.Types, error)) (*Kernel, error) {
	img, err := kimage.Load(payload, a, table, more)
	if errors.Is(err, kimage.ErrNoBTF) {
		return loadUntyped(payload, a, table, err)
	}
	if err != nil {
		return nil, err
	}
	k := &Kernel{img: img}
	if k.finder, err = locate.New(img); err != nil {
		return nil, err
	}
	if err := k.layouts(); err != nil {
		return nil, err
	}
	return k, nil
}

// layouts makes the layouts of what is read.
func (k *Kernel) layouts() (err error) {
	img := k.img
	if k.tasks, err = tasks.NewLayout(img); err != nil {
		return err
	}
	k.locks, k.waits = locks.NewLayout(img), objects.NewLayout(img)
	k.log, k.noLog = printk.NewLayout(img)
	if k.mods, k.noMods = modules.NewLayout(img); errors.Is(k.noMods, kimage.ErrNoType) {
		k.noMods = nil // CONFIG_MODULES is off: nothing to tell
	}
	k.user, k.noUser = user.NewLayout(img)
	k.timers, _ = timers.NewLayout(img.Types) // a kernel without such timers has none to tell
	k.clock, k.noClock = pending.NewLayout(img)
	return nil
}

// Start is the address that the image's first byte is linked at.
func (k *Kernel) Start() uint64 { return k.img.Start }

// View is what one look at a guest found.
type View struct {
	// Tasks are all threads, PID 0 (one for each CPU) included, in the form
	// that sysrq-t's have.
	Tasks []model.Task
	// Complete says that the list of tasks was read to its end.
	Complete bool
	// Owners are the mutexes, semaphores and rw-semaphores that tasks wait
	// for. OwnerPID is 0 where the kernel does not record a holder and where
	// readers hold the lock; a PID that is not in Tasks is one that has exited.
	Owners []model.Owner
	// Waits are what sleeping tasks wait for, one for each task where that is
	// known for certain: the locks of Owners, and all else.
	Waits []model.Wait
	// CPUs are the vCPUs that were in 64-bit mode.
	CPUs []model.CPU
	// Log is the kernel's log as the console would show it, nil where it
	// could not be read.
	Log []byte
	// Timers are those that will wake sleeping tasks.
	Timers []model.Timer
	// Events are all timers of the kernel; NoEvents says why they could not be listed, ""
	// where they were.
	Events   []model.Event
	NoEvents string
	// NothingDeferred says that no device waits for its driver's probe to be tried again.
	NothingDeferred bool
	// Randomness changes with each interrupt of a device that feeds the generator of
	// random numbers; nil where it is not known.
	Randomness []byte
	// Alarm is the name of a task that has the real-time clock open: its alarm is no timer
	// of the kernel's. "" for none.
	Alarm string
	// Jiffies is jiffies_64, 0 where it could not be read. It moves while the
	// guest takes timer interrupts.
	Jiffies uint64
	// Offset is how far KASLR moved the kernel, PhysBase the physical address
	// of its first byte.
	Offset, PhysBase uint64
	// Modules are the names of the loaded modules, the newest first.
	Modules []string
	// Types says where the layouts of structures are from, kimage.None for nowhere.
	Types kimage.Source
	// Unwinder says how the stacks were unwound.
	Unwinder string
	// Problems say what could not be read, and why.
	Problems []string
}

// maxProblems bounds View.Problems.
const maxProblems = 64

func (v *View) problem(format string, a ...any) {
	if len(v.Problems) < maxProblems {
		v.Problems = append(v.Problems, fmt.Sprintf(format, a...))
	}
}

// Look reads what there is to read. registers is QEMU's text of `info registers
// -a`, best of the same moment and with the vCPUs stopped; without it, running
// tasks have no frames. It gives an error only where the kernel cannot be found
// at all, see locate.ErrNotLoaded and locate.ErrEarly; whatever else is missing
// is in the View's Problems.
func (k *Kernel) Look(ctx context.Context, m physmem.Reader, registers string) (*View, error) {
	return k.LookAt(ctx, m, ParseRegisters(registers))
}

// LookAt is Look with registers that come from elsewhere, such as a dump. nil is
// registers that are not known; none at all are those of vCPUs that have not come
// to 64-bit mode.
func (k *Kernel) LookAt(ctx context.Context, m physmem.Reader, vcpus []model.VCPU) (*View, error) {
	found, err := k.finder.Find(ctx, m)
	if err != nil {
		return nil, err
	}
	typed, err := k.in(ctx, found, m, len(vcpus))
	if err != nil {
		return k.lookUntyped(ctx, found, m, vcpus, err)
	}
	return typed.look(ctx, found, m, vcpus)
}

func (k *Kernel) look(ctx context.Context, found *locate.Kernel, m physmem.Reader, vcpus []model.VCPU) (*View, error) {
	v := &View{Offset: found.Offset, PhysBase: found.Phys, Types: k.img.Types.Source}
	if !found.Tables {
		v.problem("the kernel has not set up its page tables: only its image can be read")
	}
	k.readJiffies(found, v)
	k.readLog(ctx, found, v)
	list := k.tasks.Read(ctx, found, max(1, len(vcpus)))
	v.Complete = list.Complete
	for _, p := range list.Problems {
		v.problem("%s", p)
	}
	w := &walker{k: k, found: found, list: list, view: v}
	w.prepare(ctx)
	w.objects = k.waits.Guest(found, m, k.tasks, list, w.symbols)
	w.vcpus(vcpus)
	v.NothingDeferred = k.nothingDeferred(found)
	if w.objects != nil {
		v.Alarm = w.objects.Opens("/dev/rtc")
	}
	w.events(max(1, len(vcpus)))
	if vcpus != nil && len(list.Tasks) == 1 && !w.inKernel() {
		return nil, fmt.Errorf("find the kernel in memory: %w", locate.ErrEarly)
	}
	w.tasks(ctx)
	return v, nil
}

func (k *Kernel) readJiffies(found *locate.Kernel, v *View) {
	a, ok := found.Addr("jiffies_64")
	if !ok {
		if a, ok = found.Addr("jiffies"); !ok { // the same place (vmlinux.lds.S)
			v.problem("the image does not name jiffies_64")
			return
		}
	}
	var err error
	if v.Jiffies, err = found.Space.Uint64(a); err != nil {
		v.problem("jiffies: %v", err)
	}
}

// nothingDeferred says that deferred_probe_pending_list is empty (drivers/base/dd.c): by
// name, or as the one empty list that the function refers to which shows it.
func (k *Kernel) nothingDeferred(found *locate.Kernel) bool {
	at, ok := k.img.Lookup("deferred_probe_pending_list")
	heads := []uint64{at}
	if !ok {
		heads = k.img.Refs("deferred_devs_show") // which comes back to it
		slices.Sort(heads)
		heads = slices.Compact(heads)
	}
	empty := 0
	for _, link := range heads {
		a := found.Run(link)
		next, err1 := found.Space.Uint64(a)
		prev, err2 := found.Space.Uint64(a + 8)
		if err1 == nil && err2 == nil && next == a && prev == a {
			empty++
		}
	}
	return empty == 1
}

func (k *Kernel) readLog(ctx context.Context, found *locate.Kernel, v *View) {
	log, err := k.log, k.noLog
	for _, types := range infer.Rings() {
		if log != nil {
			break
		}
		if l, bad := printk.NewLayout(k.img.WithTypes(types)); bad == nil && l.Fits(ctx, found) {
			log = l
		}
	}
	if log != nil {
		v.Log, err = log.Read(ctx, found)
	}
	if err != nil {
		v.problem("the kernel's log: %v", err)
	}
}

// imageMemory is the image's own bytes at run-time addresses.
type imageMemory struct {
	img    *kimage.Image
	offset uint64
}

func (m imageMemory) Read(addr uint64, p []byte) error {
	b, ok := m.img.Bytes(addr-m.offset, uint64(len(p)))
	if !ok {
		return fmt.Errorf("read %d bytes of the kernel's image at %#x: not in the file", len(p), addr)
	}
	copy(p, b)
	return nil
}
