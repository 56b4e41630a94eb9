package dump

import (
	"bytes"

	"github.com/unwedge/unwedge/harness/internal/console"
)

// Repetition is what the end of a log says over and over.
type Repetition struct {
	// Text is the line that says the most: the first of a round that is no part of a
	// trace. Count is how often it stands there.
	Text  string
	Count int
	// Lines and Bytes are all that repeats, Offset and End where it stands.
	Lines       int
	Offset, End int64
	// Kernel says that the kernel prints it, not a program.
	Kernel bool
	// Comm and PID are the task that the kernel names with it, Func the function that
	// its trace names; PID is -1 where it names none.
	Comm string
	PID  int
	Func string
}

const (
	repeatTail   = 128 << 10 // how much of the end is looked at, in bytes
	repeatShapes = 80        // the most different lines of one round: a complaint and its trace
	repeatLines  = 40        // the fewest lines of all rounds
	repeatRounds = 4         // the fewest rounds
	repeatOften  = 30        // the fewest lines where a round is one or two
)

// Repetition finds what the log repeats until it ends, but for a task dump that
// somebody asked for then. ok is false if it repeats nothing.
func (d *Dump) Repetition() (rep Repetition, ok bool) {
	end := d.beforeDumps()
	start := max(0, end-repeatTail)
	var lines []Record
	var shapes []uint64
	count := make(map[uint64]int)
	for part := range between(d.text, start, end) {
		for r := range Records(part) {
			h := console.Shape(r.Text)
			lines, shapes = append(lines, r), append(shapes, h)
			count[h]++
		}
	}
	from, other := len(lines), 0
	round := make(map[uint64]struct{})
	for i := len(lines) - 1; i >= 0; i-- {
		if count[shapes[i]] < repeatRounds {
			if other++; other > 3 && other > (len(lines)-i)/20 {
				break
			}
			continue
		}
		from = i
		if round[shapes[i]] = struct{}{}; len(round) > repeatShapes {
			return rep, false
		}
	}
	lines, shapes = lines[from:], shapes[from:]
	if len(lines) < repeatOften {
		return rep, false
	}
	rep = Repetition{Lines: len(lines), Offset: start, End: end, PID: -1, Kernel: d.Boot.LastSource == SourceKernel}
	rep.read(lines, shapes, count)
	ok = rep.Text != "" && (rep.Count >= repeatOften || rep.Count >= repeatRounds && rep.Lines >= repeatLines)
	return rep, ok
}

// beforeDumps is where the log ends without the sysrq dumps at its end.
func (d *Dump) beforeDumps() int64 {
	end := d.Bytes
	for i := len(d.Sections) - 1; i >= 0; i-- {
		if s := &d.Sections[i]; end-s.End < 4<<10 {
			end = s.Offset
		}
	}
	return end
}

// read finds the words of a repetition in its lines.
func (rep *Repetition) read(lines []Record, shapes []uint64, count map[uint64]int) {
	var trace []string
	for i, r := range lines {
		rep.Kernel = rep.Kernel || r.HasTime
		if count[shapes[i]] < repeatRounds {
			continue
		}
		if c, ok := parseCPULine(r.Text); ok {
			if rep.PID < 0 {
				rep.Comm, rep.PID = string(c.comm), c.pid
			}
			continue
		}
		if f, ok := parseFrame(r.Text); ok {
			if !f.guess && len(trace) < MaxFrames {
				trace = append(trace, string(f.fn))
			}
			continue
		}
		if rep.Text == "" && !isTraceNoise(r.Text) {
			rep.Text, rep.Count = clip(r.Text), count[shapes[i]]
			trace = trace[:0] // of the round before, whose beginning is not in the tail
		}
	}
	for _, fn := range trace {
		if b := PlainName(fn); !allHelpers.has(b) {
			rep.Func = b
			return
		}
	}
}

// traceNoise begin the lines around a trace that say nothing by themselves.
var traceNoise = []string{
	"Hardware name:", "Call trace:", "Call Trace:", "Modules linked in:", "pstate:", "pc :", "lr :", "sp :", "x2", "x1", "x5", "x8",
	"Code:", "---[ ", "------------[", "RIP:", "RSP:", "RAX:", "RDX:", "RBP:", "R10:", "R13:", "FS:", "CS:", "CR2:", "DR0:", "DR3:", "======",
	"<TASK>", "</TASK>", "<IRQ>", "</IRQ>", "Workqueue:", "Stack:", "Tainted:",
}

func isTraceNoise(b []byte) bool {
	t := bytes.TrimLeft(b, " ")
	for _, s := range traceNoise {
		if hasPrefix(t, s) {
			return true
		}
	}
	return len(t) < 3
}
