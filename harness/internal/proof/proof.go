// Package proof tells whether a guest can still go on by itself.
//
// A guest that idles is woken by a timer that its kernel has set, by the answer of a
// device, or by somebody outside. All timers stand in its memory, QEMU knows what its
// devices owe, and outside a machine without network there is nobody. So where no timer
// is due in time but those of the kernel's housekeeping, and no device owes an answer,
// nothing more will happen: that is known as soon as it is seen, without waiting.
//
// A vCPU that spins is single-stepped: one that comes back to the same registers does the
// same for ever, where nothing but registers decides what it does, and memory that nobody
// changes.
//
// Whatever is not understood, a function that is in no table here, a device that QEMU
// does not tell about, a kernel whose timers cannot be listed, proves nothing: the guest
// is then judged by its silence.
package proof

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/unwedge/unwedge/harness/internal/guestmem"
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/harness/internal/vcpu"
)

// Look is what one look at the guest showed.
type Look struct {
	View *guestmem.View
	// HZ is how many jiffies the kernel counts in a second.
	HZ int
	// Owed are the requests that the machine's devices have not answered.
	Owed []string
	// Err says why one of these is not known.
	Err error
}

// Answer is what a Look proves.
type Answer struct {
	// Closed says that nothing will happen in the guest any more, in as long as was asked.
	Closed bool
	// Why is the first thing that may still happen, or that is not known. "" where Closed.
	Why string
	// Facts are what the proof rests on.
	Facts []string
	// Apart is how long to wait for the second look (see Both).
	Apart time.Duration
}

// The time between two looks: a guest that stands still shows it soon. One that looks for
// something again and again must have done so some rounds long.
const (
	apart  = 300 * time.Millisecond
	rounds = 2
)

// late is by how much later than it seems a timer may be due: an idle guest does not
// count its jiffies, and its clock begins before they do.
const late = 10 * time.Second

// Judge says whether anything will happen within a time.
func Judge(l Look, within time.Duration) Answer {
	if why := unknown(l); why != "" {
		return Answer{Why: why}
	}
	v := l.View
	if why := awake(v); why != "" {
		return Answer{Why: why}
	}
	for i := range v.Tasks {
		if why := outside(&v.Tasks[i]); why != "" {
			return Answer{Why: why}
		}
	}
	far, kept := 0, 0
	sure := Answer{Closed: true, Apart: apart}
	for _, e := range v.Events {
		due := e.In(v.Jiffies, l.HZ)
		if due > within+late {
			far++
			continue
		}
		if p, ok := polls[wakes(e, v)]; ok {
			sure.Apart = max(sure.Apart, rounds*p.every+apart)
			sure.Facts = append(sure.Facts, fmt.Sprintf("%s (PID %d) %s", e.Comm, e.PID, p.why))
			continue
		}
		if !keeps(e, v) {
			return Answer{Why: fmt.Sprintf("%s, due in %s", e, max(0, due).Round(100*time.Millisecond))}
		}
		kept++
	}
	if len(l.Owed) > 0 {
		return Answer{Why: strings.Join(l.Owed, ", ")}
	}
	sure.Facts = append([]string{
		"every vCPU idles, and no task can run",
		fmt.Sprintf("of %d timers %d are the kernel's housekeeping, and %d are due in more than %s", len(v.Events), kept, far, within),
		"no device owes an answer",
	}, sure.Facts...)
	return sure
}

// Both says whether two Looks, with nothing but idleness between them, prove the same of
// one guest that stood still: what changes while it is read, or ran in between, is no proof.
func Both(a, b Look, within time.Duration) Answer {
	first, then := Judge(a, within), Judge(b, within)
	if !first.Closed {
		return first
	}
	if !then.Closed {
		return then
	}
	if len(a.View.Tasks) != len(b.View.Tasks) {
		return Answer{Why: "tasks came or went"}
	}
	before := map[int]*model.Task{}
	for i := range a.View.Tasks {
		before[a.View.Tasks[i].PID] = &a.View.Tasks[i]
	}
	for i := range b.View.Tasks {
		if t := &b.View.Tasks[i]; t.PID > 0 && !housekeeper(t) {
			if why := moved(before[t.PID], t, a.View, b.View); why != "" {
				return Answer{Why: fmt.Sprintf("%s (PID %d) %s", t.Comm, t.PID, why)}
			}
		}
	}
	return then
}

// moved says what a task has done between two looks that may lead on; "" for nothing.
func moved(before, now *model.Task, a, b *guestmem.View) string {
	if before == nil {
		return "ran"
	}
	p, polls := polls[polling(now)]
	switch ran := now.Switches - before.Switches; {
	case !polls && ran != 0, polls && polling(before) != polling(now):
		return "ran"
	case polls && ran < rounds:
		return "has not looked again yet"
	case polls && !p.same(a, b):
		return "may find what it looks for"
	}
	return ""
}

// unknown is what is missing for a proof.
func unknown(l Look) string {
	switch v := l.View; {
	case l.Err != nil:
		return l.Err.Error()
	case v == nil:
		return "the guest's memory could not be read"
	case v.NoEvents != "":
		return v.NoEvents
	case len(v.Events) == 0:
		return "the kernel has set no timer yet"
	case !v.Complete || len(v.CPUs) == 0 || v.Unwinder == "":
		return "not all tasks could be read"
	case l.HZ <= 0:
		return "the kernel's HZ is not known"
	}
	return ""
}

// awake is a vCPU that does not idle or a task that could run.
func awake(v *guestmem.View) string {
	for _, c := range v.CPUs {
		rests := c.Halted || len(c.Frames) > 0 && vcpu.IdleFunction(c.Frames[0].Base())
		if c.PID != 0 || c.User || !rests {
			return fmt.Sprintf("vCPU %d runs %s (PID %d)", c.Index, c.Comm, c.PID)
		}
	}
	for i := range v.Tasks {
		if t := &v.Tasks[i]; t.PID != 0 && (t.Running || t.State == "R") {
			return fmt.Sprintf("%s (PID %d) can run", t.Comm, t.PID)
		}
	}
	if v.Alarm != "" {
		return v.Alarm + " has the real-time clock open, whose alarm is in no list"
	}
	return ""
}

// wakes is the place where the task polls that an event wakes; "" for none.
func wakes(e model.Event, v *guestmem.View) string {
	i := slices.IndexFunc(v.Tasks, func(t model.Task) bool { return t.PID == e.PID })
	if e.Work != "" || e.PID < 0 || i < 0 {
		return ""
	}
	return polling(&v.Tasks[i])
}

// keeps says whether an event is of the kernel's housekeeping, which never lets a boot
// go on.
func keeps(e model.Event, v *guestmem.View) bool {
	var k keeping
	var ok bool
	switch {
	case e.Work != "":
		k, ok = works[e.Work]
	case e.PID >= 0:
		i := slices.IndexFunc(v.Tasks, func(t model.Task) bool { return t.PID == e.PID })
		if i < 0 {
			return false
		}
		k, ok = thread(&v.Tasks[i])
	default:
		k, ok = calls[e.Calls]
	}
	return ok && (k.idle == nil || k.idle(v)) && (k.but == "" || !slices.ContainsFunc(v.Tasks, func(t model.Task) bool { return in(&t, k.but) }))
}

// in says whether a function is on a task's stack.
func in(t *model.Task, function string) bool {
	return slices.ContainsFunc(t.Frames, func(f model.Frame) bool { return f.Base() == function })
}
