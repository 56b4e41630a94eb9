package diagnose

import (
	"slices"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/internal/model"
)

// wait is what one task waits for.
type wait struct {
	mech mechanism
	// fn is the kernel function that says most about it.
	fn string
	// what is the short word for Link.Waits.
	what string
	// why is in words.
	why string
	// hard is how strongly the wait speaks for being the blocker: a task in
	// an idle epoll has 5, one that waits for entropy 100.
	hard int
	// module, probe, mount and initcall name the larger operation it waits in.
	module, probe, mount, initcall string
	inModule, inProbe, inMount     bool
	inInitcall                     bool
	// guessed says that only unreliable frames show that operation.
	guessed bool
}

// classify says what a task waits for.
func classify(t *model.Task) wait {
	chain := t.Chain()
	if ranOn(t, chain) {
		return wait{mech: onCPU, what: "nothing", why: "runs", hard: 12}
	}
	w := wait{mech: onOther, what: "unknown"}
	best, at := len(waitRules), -1
	for i, f := range chain {
		r, ok := waitIndex[f.Base()]
		if !ok || r >= best || t.State == "D" && interruptible(waitRules[r].mech) || waitRules[r].mech == onEntropy && !seeding(t, chain, i) {
			continue
		}
		best, at = r, i
	}
	for _, f := range chain {
		if b := f.Base(); !dump.IsGeneric(b) {
			w.fn = b
			break
		}
	}
	if w.fn == "" {
		w.fn = dump.Guilty("", chain) // never the scheduler: all that wait stand there
	}
	w.context(chain)
	if guesses := lostFrames(t); len(guesses) > 0 && !w.inModule && !w.inProbe && !w.inMount && !w.inInitcall {
		w.context(slices.Concat(chain, guesses))
		w.guessed = w.inModule || w.inProbe || w.inMount || w.inInitcall
	}
	switch {
	case t.State == "Z" || t.State == "X":
		w.mech, w.what, w.why = onNothing, "nothing", "is dead"
		return w
	case t.State == "T" || t.State == "t":
		w.mech, w.what, w.why, w.hard = onStop, "stop signal", "a SIGCONT, because it was stopped", 60
		return w
	case best < len(waitRules):
		r := &waitRules[best]
		w.mech, w.what, w.why, w.hard = r.mech, r.what, r.why, r.hard
		w.refine(chain, at)
		if t.State == "D" && w.mech == onSleep {
			w.hard = 84 // nobody uses msleep to wait for an event
		}
	case t.State == "D":
		w.what, w.why, w.hard = "the kernel", "something in the kernel", 84
	case t.State == "I":
		w.what, w.why = "work", "work to do"
	}
	if t.State == "R" && w.mech != onEntropy {
		w.mech, w.what, w.why, w.hard = onCPU, "nothing", "runs", 12
		if dumpsItself(t) {
			w.fn = interruptedIn(chain) // above it are the dump's own frames
		}
		if w.inModule || w.inProbe || w.inInitcall {
			w.hard = 75
		}
	}
	if w.hard >= 60 && t.KernelThread && t.State != "D" && t.PID != 1 && w.mech != onEntropy {
		w.hard = 1 // kernel threads sleep interruptibly when they are idle
	}
	if w.hard < 80 && w.hard > 0 && (w.inModule || w.inProbe) && t.State != "R" {
		w.hard = 80
	}
	if w.mech == onEntropy && t.Has("rng_dev_read") {
		w.why = "the hardware random number generator"
	}
	return w
}

// interruptedIn is the function that was interrupted, "" for user space. The entry
// functions are those of arch/x86/include/asm/idtentry.h and
// arch/arm64/kernel/entry.S.
func interruptedIn(chain []model.Frame) string {
	for i, f := range slices.Backward(chain) {
		switch f.Base() {
		case "asm_common_interrupt", "common_interrupt", "ret_from_intr", "el1h_64_irq", "el1_irq":
			for _, g := range chain[i+1:] {
				if b := g.Base(); !dump.IsGeneric(b) {
					return b
				}
			}
			return ""
		}
	}
	return ""
}

// seeding says that the frame at i waits for the generator to be seeded. A read of
// /dev/random may also compute, or wait for the memory that it writes to.
func seeding(t *model.Task, chain []model.Frame, i int) bool {
	switch b := chain[i].Base(); {
	case b == "wait_for_random_bytes" || b == "try_to_generate_entropy":
		return true
	case t.State == "R":
		return t.Has("wait_for_random_bytes", "try_to_generate_entropy")
	}
	for _, f := range chain[:i] {
		r, ok := waitIndex[f.Base()]
		if !dump.IsGeneric(f.Base()) && !(ok && waitRules[r].mech == onEntropy) {
			return t.Has("wait_for_random_bytes")
		}
	}
	return true
}

// ranOn says that a task runs on another CPU than the one that printed it. arm64
// then starts the stack where the task was last switched out, and continues with
// whatever was written there since (thread_saved_pc, arch/arm64/kernel/process.c).
func ranOn(t *model.Task, chain []model.Frame) bool {
	if t.State != "R" || len(chain) == 0 || chain[0].Base() != "__switch_to" {
		return false
	}
	if !slices.ContainsFunc(chain, func(f model.Frame) bool { return !dump.IsGeneric(f.Base()) }) {
		return true
	}
	next := chain[1].Base()
	return next != "__schedule" && next != "__sched_text_start" && next != "schedule"
}

// lostFrames are the unreliable frames after the last reliable one, where the
// unwinder gave up before the stack's end.
func lostFrames(t *model.Task) []model.Frame {
	last := -1
	for i, f := range t.Frames {
		if f.Reliable {
			last = i
		}
	}
	if last < 0 || dump.EndsStack(t.Frames[:last+1]) {
		return nil
	}
	return t.Frames[last+1:]
}

// refine picks the function that names the wait: for the entropy, helper and
// similar rules the function of the rule itself; for the plain primitives the
// caller that took them.
func (w *wait) refine(chain []model.Frame, at int) {
	switch w.mech {
	case onEntropy:
		w.fn = chain[at].Base()
		for _, f := range chain {
			if f.Base() == "wait_for_random_bytes" {
				w.fn = "wait_for_random_bytes"
			}
		}
	case onHelper, onIdempotent, onAsync, onProbes, onDevtmpfs, onRootDevice, onRCU:
		w.fn = chain[at].Base()
	case onSocket:
		if strings.HasPrefix(w.fn, "tcp") || strings.HasPrefix(w.fn, "inet") {
			w.what, w.why = "network socket", "a network peer"
		}
	}
}
