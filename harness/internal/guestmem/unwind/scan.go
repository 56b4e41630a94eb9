package unwind

const (
	maxGuesses = 64 // frames from a search of the stack
	maxResyncs = 48 // walks tried from them
)

// candidate is a word on the stack that may be a return address.
type candidate struct{ at, pc uint64 }

// search lists the words from sp to the end of the stack that are addresses of
// code after a call. Where the stack's end is not known, it is taken to be at
// the next boundary of 16 KiB, the alignment of stacks.
func (w *walk) search(sp uint64) []candidate {
	const unknown = 16 << 10
	sp = (sp + 7) &^ 7
	end := (sp + unknown) &^ (unknown - 1)
	if w.stack.Contains(sp) {
		end = w.stack.End
	}
	var out []candidate
	for at := sp; at < end && at-sp < stackSpan; {
		n := min(end-at, 4096-at%4096)
		page := w.words(at, int(n/8))
		for i, v := range page {
			v = w.strip(v)
			if w.u.text.contains(v) && w.u.afterCall(v) {
				out = append(out, candidate{at + uint64(8*i), v})
				if len(out) == maxGuesses {
					return out
				}
			}
		}
		at += n
	}
	return out
}

func (w *walk) addGuesses(cs []candidate) {
	w.guessing = true
	for _, c := range cs {
		f := w.u.frame(c.pc, false)
		f.SP = c.at + 8
		if !w.add(f) {
			return
		}
	}
}

// convincing says whether a walk from a guess found the end of the stack: the
// user's registers, or a kernel thread's start that was called from there.
func (w *walk) convincing() bool {
	return w.trace.End.Kind == UserEntry || w.trace.End.Kind == KernelEntry && len(w.trace.Frames) > 1
}

// x86Resync goes on after a failure. A word from which the strict way leads to
// a proper end is most likely the frame that was lost; else all are listed.
func (w *walk) x86Resync(st x86State) {
	stopped := w.trace.End
	cs := w.search(st.sp)
	if w.u.orc != nil {
		for i, c := range cs {
			if i == maxResyncs {
				break
			}
			try := w.u.newWalk(w.stack)
			try.guessing, try.why = true, stopped.Why
			s := x86State{ip: c.pc, sp: c.at + 8, bp: st.bp}
			if try.x86Steps(&s) && try.convincing() {
				w.trace.Frames = append(w.trace.Frames, try.trace.Frames...)
				w.trace.End, w.trace.User = try.trace.End, try.trace.User
				return
			}
		}
	}
	w.addGuesses(cs)
	if w.stack.End != 0 {
		w.x86StackTop() // the registers are there, the way to them is not
	}
	w.trace.End = stopped
}

// arm64Scan goes on after a failure. A frame record from which the chain leads
// to a proper end is most likely the one that was lost; else all words are listed.
func (w *walk) arm64Scan(sp uint64) {
	stopped := w.trace.End
	cs := w.search(sp)
	for i, c := range cs {
		if i == maxResyncs {
			break
		}
		try := w.u.newWalk(w.stack)
		try.guessing, try.why = true, stopped.Why
		end := uint64(0)
		if try.arm64Chain(c.at-8, &end) && try.convincing() {
			w.trace.Frames = append(w.trace.Frames, try.trace.Frames...)
			w.trace.End, w.trace.User = try.trace.End, try.trace.User
			return
		}
	}
	w.addGuesses(cs)
	if w.stack.End != 0 {
		w.arm64StackTop() // the registers are there, the way to them is not
	}
	w.trace.End = stopped
}
