// Package timers finds what will wake a sleeping task of a guest: the timers
// that it has put on its own kernel stack before it went to sleep. No list of
// the kernel's is walked, so that no symbol of data is needed: many kernels have
// none (CONFIG_KALLSYMS_ALL off).
package timers

import (
	"encoding/binary"
	"fmt"

	"github.com/unwedge/unwedge/harness/internal/guestmem/kimage"
	"github.com/unwedge/unwedge/harness/internal/guestmem/locate"
	"github.com/unwedge/unwedge/harness/internal/guestmem/tasks"
	"github.com/unwedge/unwedge/harness/internal/model"
)

// Layout is where the timers' fields are.
type Layout struct{ wheel, high sleeper }

// sleeper is a structure on a sleeper's stack that holds a timer and the task
// that it wakes.
type sleeper struct {
	wakes                   string // the function that the timer calls
	expires, function, task uint64 // offsets, in bytes
	size                    uint64
}

// NewLayout reads the types: struct process_timer, of schedule_timeout
// (kernel/time/timer.c, since 4.15), and struct hrtimer_sleeper, of nanosleep
// and of waits with a time-out (kernel/time/hrtimer.c).
func NewLayout(t *kimage.Types) (*Layout, error) {
	l := &Layout{}
	var err error
	if l.wheel, err = newSleeper(t, "process_timer", "process_timeout", []string{"timer", "expires"}, []string{"timer", "function"}); err != nil {
		return nil, err
	}
	if l.high, err = newSleeper(t, "hrtimer_sleeper", "hrtimer_wakeup", []string{"timer", "node", "expires"}, []string{"timer", "function"}); err != nil {
		return nil, err
	}
	return l, nil
}

func newSleeper(t *kimage.Types, typ, wakes string, expires, function []string) (sleeper, error) {
	s := sleeper{wakes: wakes}
	for _, f := range []struct {
		to   *uint64
		path []string
	}{{&s.expires, expires}, {&s.function, function}, {&s.task, []string{"task"}}} {
		got, err := t.Field(typ, f.path...)
		if err != nil {
			return s, fmt.Errorf("timers: %w", err)
		}
		*f.to = got.Off
		s.size = max(s.size, got.Off+8)
	}
	return s, nil
}

// maxStack bounds what is read of a stack, in bytes: the timer is near its top.
const maxStack = 4096

// Of returns the timers of a task that sleeps, none where it sleeps for good. A
// task that runs has none that is true.
func (l *Layout) Of(k *locate.Kernel, t *tasks.Task) []model.Timer {
	if t.OnCPU || t.SP < t.Stack || t.SP >= t.Stack+t.StackSize {
		return nil
	}
	b := make([]byte, min(maxStack, t.Stack+t.StackSize-t.SP)&^7)
	if k.Space.Read(t.SP, b) != nil {
		return nil
	}
	var out []model.Timer
	for at := uint64(0); at+l.wheel.size <= uint64(len(b)); at += 8 {
		if due, ok := l.wheel.at(k, t, b[at:]); ok {
			out = append(out, model.Timer{PID: t.PID, Jiffies: due})
		}
	}
	for at := uint64(0); at+l.high.size <= uint64(len(b)); at += 8 {
		if due, ok := l.high.at(k, t, b[at:]); ok && due>>63 == 0 {
			out = append(out, model.Timer{PID: t.PID, Nanoseconds: due})
		}
	}
	return out
}

// at reads the structure that b begins with; ok is false where it is none: a
// timer that calls the right function and wakes the task whose stack it is on.
func (s sleeper) at(k *locate.Kernel, t *tasks.Task, b []byte) (due uint64, ok bool) {
	fn, known := k.Addr(s.wakes)
	le := binary.LittleEndian
	if !known || le.Uint64(b[s.function:]) != fn || le.Uint64(b[s.task:]) != t.Addr {
		return 0, false
	}
	return le.Uint64(b[s.expires:]), true
}
