// Package pending lists what a guest's kernel has set its clock for: every timer of the
// timer wheel and every hrtimer, on all CPUs. What an idle guest does next is one of
// them, an interrupt of a device, or nothing.
package pending

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/unwedge/unwedge/harness/internal/guestmem/kimage"
	"github.com/unwedge/unwedge/harness/internal/guestmem/locate"
	"github.com/unwedge/unwedge/harness/internal/guestmem/tasks"
	"github.com/unwedge/unwedge/harness/internal/model"
)

// Layout is where the kernel keeps its timers. Made once per image; it may be used by
// many goroutines.
type Layout struct {
	wheel, high perCPU
	vectors     field // of struct timer_base: the lists of the wheel
	entry       field // of struct timer_list
	expires     field
	function    field
	clocks      field // of struct hrtimer_cpu_base
	clockSize   uint64
	active      field // of struct hrtimer_clock_base
	clockOffset field
	node        field // of struct hrtimer
	due, calls  field
	owners      map[string]owner
	randomness  perCPU // size 0 where it is not known
}

type field = kimage.Field

// perCPU is a per-CPU variable: an array of bases.
type perCPU struct {
	link, size uint64 // of the whole
	each       uint64 // of one base
}

// owner is the structure that a timer is part of, by the function that the timer calls:
// task or work are where that says whom it wakes or what it runs, from the timer on.
type owner struct {
	task, work int64
	isTask     bool
}

// runqueues is the per-CPU variable from which the others are counted where kallsyms
// names no data.
const runqueues = "runqueues"

// ErrUnknown says that the image does not tell where timers are.
var ErrUnknown = errors.New("neither the kernel's types nor its symbols say where they are")

// NewLayout reads the image: kernel/time/timer.c and hrtimer.c.
func NewLayout(img *kimage.Image) (*Layout, error) {
	l := &Layout{owners: map[string]owner{}}
	anchor := tasks.Runqueues(img)
	for _, v := range []struct {
		to        *perCPU
		name, typ string
	}{{&l.wheel, "timer_bases", "timer_base"}, {&l.high, "hrtimer_bases", "hrtimer_cpu_base"}} {
		link, size, ok := img.PerCPU(v.name, runqueues, anchor)
		each, err := img.Types.Size(v.typ)
		if !ok || err != nil || each == 0 || size < each {
			return nil, fmt.Errorf("list timers: %w", ErrUnknown)
		}
		*v.to = perCPU{link, min(size, maxBases*each), each}
	}
	t := img.Types
	for _, f := range []struct {
		to   *field
		typ  string
		path []string
	}{
		{&l.vectors, "timer_base", []string{"vectors"}},
		{&l.entry, "timer_list", []string{"entry"}},
		{&l.expires, "timer_list", []string{"expires"}},
		{&l.function, "timer_list", []string{"function"}},
		{&l.clocks, "hrtimer_cpu_base", []string{"clock_base"}},
		{&l.active, "hrtimer_clock_base", []string{"active", "rb_root", "rb_root", "rb_node"}},
		{&l.clockOffset, "hrtimer_clock_base", []string{"offset"}},
		{&l.node, "hrtimer", []string{"node", "node"}},
		{&l.due, "hrtimer", []string{"node", "expires"}},
		{&l.calls, "hrtimer", []string{"function"}},
	} {
		var err error
		if *f.to, err = t.Field(f.typ, f.path...); err != nil {
			return nil, fmt.Errorf("list timers: %w", err)
		}
	}
	var err error
	if l.clockSize, err = t.Size("hrtimer_clock_base"); err != nil || l.clockSize == 0 {
		return nil, fmt.Errorf("list timers: %w", ErrUnknown)
	}
	l.known(t)
	if link, size, ok := img.PerCPU("irq_randomness", runqueues, anchor); ok && size <= maxRandomness {
		l.randomness = perCPU{link, size, size}
	}
	return l, nil
}

// maxRandomness bounds a struct fast_pool.
const maxRandomness = 1024

// maxBases bounds a CPU's array of bases: it has three wheels at most (BASE_LOCAL,
// BASE_GLOBAL, BASE_DEF).
const maxBases = 4

// known finds what the functions that most timers call have around their timer.
func (l *Layout) known(t *kimage.Types) {
	for _, o := range []struct {
		calls   string
		typ     string
		timer   []string
		what    []string
		isATask bool
	}{
		{"process_timeout", "process_timer", []string{"timer"}, []string{"task"}, true},
		{"hrtimer_wakeup", "hrtimer_sleeper", []string{"timer"}, []string{"task"}, true},
		{"delayed_work_timer_fn", "delayed_work", []string{"timer"}, []string{"work", "func"}, false},
		{"kthread_delayed_work_timer_fn", "kthread_delayed_work", []string{"timer"}, []string{"work", "func"}, false},
	} {
		timer, err1 := t.Field(o.typ, o.timer...)
		what, err2 := t.Field(o.typ, o.what...)
		if err1 == nil && err2 == nil {
			off := int64(what.Off) - int64(timer.Off)
			l.owners[o.calls] = owner{task: off, work: off, isTask: o.isATask}
		}
	}
}

// The bounds of one guest's timers.
const (
	maxTimers = 4096
	maxDepth  = 64
)

// Randomness is what interrupts of devices have left for the generator of random numbers,
// on all CPUs: it is another after each of them (drivers/char/random.c,
// add_interrupt_randomness). nil where it is not known.
func (l *Layout) Randomness(k *locate.Kernel, cpus int) []byte {
	size := int(l.randomness.size)
	all := make([]byte, size*cpus)
	for cpu := range cpus {
		at, err := k.PerCPU(l.randomness.link, cpu)
		if err != nil || size == 0 || k.Space.Read(at, all[cpu*size:(cpu+1)*size]) != nil {
			return nil
		}
	}
	return all
}

// ErrTorn says that the timers could not be read as a whole: the guest ran meanwhile, or
// its memory is not what it seems.
var ErrTorn = errors.New("the timers cannot be read as a whole")

// Read lists the timers of a guest with so many CPUs. symbol names functions at run-time
// addresses, list is the guest's tasks.
func (l *Layout) Read(k *locate.Kernel, cpus int, list *tasks.List, symbol func(uint64) string) ([]model.Event, error) {
	r := &reader{l: l, k: k, list: list, symbol: symbol}
	for cpu := range cpus {
		if err := r.cpu(cpu); err != nil {
			return nil, fmt.Errorf("list the timers of CPU %d: %w", cpu, err)
		}
	}
	return r.out, nil
}

type reader struct {
	l      *Layout
	k      *locate.Kernel
	list   *tasks.List
	symbol func(uint64) string
	out    []model.Event
}

func (r *reader) cpu(cpu int) error {
	for _, v := range []struct {
		at   perCPU
		read func(base []byte, at uint64) error
	}{{r.l.wheel, r.wheel}, {r.l.high, r.high}} {
		at, err := r.k.PerCPU(v.at.link, cpu)
		if err != nil {
			return err
		}
		b := make([]byte, v.at.size)
		if err := r.k.Space.Read(at, b); err != nil {
			return err
		}
		for off := uint64(0); off+v.at.each <= uint64(len(b)); off += v.at.each {
			if err := v.read(b[off:off+v.at.each], at+off); err != nil {
				return err
			}
		}
	}
	return nil
}

func word(b []byte, off uint64) uint64 { return binary.LittleEndian.Uint64(b[off:]) }

// wheel follows the lists of one struct timer_base.
func (r *reader) wheel(b []byte, at uint64) error {
	v := r.l.vectors
	for off := v.Off; off+8 <= v.Off+v.Size; off += 8 {
		back := at + off // a node's pprev points to what points to it
		for node := word(b, off); node != 0; {
			timer := node - r.l.entry.Off
			var e [2]uint64
			for i, a := range []uint64{node, node + 8} {
				w, err := r.k.Space.Uint64(a)
				if err != nil {
					return err
				}
				e[i] = w
			}
			if e[1] != back {
				return ErrTorn
			}
			if err := r.add(timer, timer+r.l.function.Off, timer+r.l.expires.Off, false, 0); err != nil {
				return err
			}
			back, node = node, e[0]
		}
	}
	return nil
}

// high walks the trees of one struct hrtimer_cpu_base.
func (r *reader) high(b []byte, _ uint64) error {
	c := r.l.clocks
	for off := c.Off; off+r.l.clockSize <= c.Off+c.Size; off += r.l.clockSize {
		clock := b[off : off+r.l.clockSize]
		if err := r.tree(word(clock, r.l.active.Off), word(clock, r.l.clockOffset.Off), 0); err != nil {
			return err
		}
	}
	return nil
}

// tree walks a red-black tree (include/linux/rbtree_types.h: colour and parent, right,
// left).
func (r *reader) tree(node, offset uint64, depth int) error {
	if node == 0 {
		return nil
	}
	if depth > maxDepth {
		return ErrTorn
	}
	var n [24]byte
	if err := r.k.Space.Read(node, n[:]); err != nil {
		return err
	}
	timer := node - r.l.node.Off
	if err := r.add(timer, timer+r.l.calls.Off, timer+r.l.due.Off, true, offset); err != nil {
		return err
	}
	for _, child := range []uint64{word(n[:], 8), word(n[:], 16)} {
		if err := r.tree(child, offset, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) add(timer, function, expires uint64, high bool, offset uint64) error {
	if len(r.out) >= maxTimers {
		return ErrTorn
	}
	fn, err := r.k.Space.Uint64(function)
	if err != nil {
		return err
	}
	due, err := r.k.Space.Uint64(expires)
	if err != nil {
		return err
	}
	e := model.Event{Calls: r.symbol(fn), PID: -1}
	if high {
		e.Nanoseconds = max(1, int64(due-offset)) // from the clock's own time to the monotonic one
	} else {
		e.Jiffies = due
	}
	if o, ok := r.l.owners[e.Calls]; ok {
		what, err := r.k.Space.Uint64(timer + uint64(o.task))
		if err != nil {
			return err
		}
		switch t := r.list.Find(what); {
		case !o.isTask:
			e.Work = r.symbol(what)
		case t != nil:
			e.PID, e.Comm = t.PID, t.Comm
		}
	}
	r.out = append(r.out, e)
	return nil
}
