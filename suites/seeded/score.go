package main

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/scenarios"
)

// Truth is what was seeded, and so what there is to find out.
type Truth struct {
	// ID names the seed, on one arch.
	ID    string `json:"id"`
	Arch  string `json:"arch"`
	Fault string `json:"fault"`
	Phase string `json:"phase"`
	// Function is the kernel function that was changed; "" for a fault of
	// user space.
	Function string `json:"function,omitempty"`
	// Kinds, Causes and Syscall are right answers; empty ones are not judged.
	Kinds   []result.Kind  `json:"kinds"`
	Causes  []result.Cause `json:"causes,omitempty"`
	Syscall string         `json:"syscall,omitempty"`
	// Task is what the diagnosis must name, where that is known beforehand.
	Task Task `json:"task,omitzero"`
	// Types are the kernel's.
	Types Types `json:"types,omitempty"`
}

// Task is a task of the guest; the zero value is not judged.
type Task struct {
	Comm    string `json:"comm,omitempty"`
	PID     int    `json:"pid,omitempty"`      // 0: any
	NotPID1 bool   `json:"not_pid1,omitempty"` // a child of PID 1 with the same name
}

func (t Task) is(b *result.Blocked) bool {
	return b != nil && b.Comm == t.Comm && (t.PID == 0 || b.PID == t.PID) && !(t.NotPID1 && b.PID == 1)
}

// Verdict is how good an answer was.
type Verdict string

// The verdicts, the best first.
const (
	Right    Verdict = "right"     // kind, cause and place are right
	Near     Verdict = "near"      // kind is right, and the place is in the evidence
	Unknown  Verdict = "unknown"   // noticed, and said that the cause is not known
	Unplaced Verdict = "unplaced"  // kind is right, and the place is not shown anywhere
	Wrong    Verdict = "wrong"     // noticed, and something else was said
	Missed   Verdict = "missed"    // not noticed
	NoEffect Verdict = "no effect" // the boot came through: not counted
	Failed   Verdict = "failed"    // the harness failed: not counted
)

// Placed says where the seeded function was named.
type Placed string

// The places of a name.
const (
	ByDiagnosis Placed = "diagnosis" // the diagnosed function, title or task's chain
	ByEvidence  Placed = "evidence"  // only in the diagnosis's evidence
	ByRegisters Placed = "registers" // only in the registers
	ByConsole   Placed = "console"   // only on the console
	Nowhere     Placed = "nowhere"
	NotJudged   Placed = "" // nothing can name it: the machine was reset
)

// Score is one seed and what was said of it.
type Score struct {
	Truth
	Verdict    Verdict           `json:"verdict"`
	Placed     Placed            `json:"placed,omitempty"`
	Outcome    scenarios.Outcome `json:"outcome,omitempty"`
	Kind       result.Kind       `json:"kind,omitempty"`
	Cause      result.Cause      `json:"cause,omitempty"`
	Title      string            `json:"title,omitempty"`
	Confidence result.Confidence `json:"confidence,omitempty"`
	KindRight  bool              `json:"kind_right"`
	CauseRight bool              `json:"cause_right"`
	// Task is the task that was named; TaskJudged says that the right one is
	// known.
	Task       *result.Blocked `json:"named_task,omitempty"`
	TaskJudged bool            `json:"task_judged,omitempty"`
	TaskRight  bool            `json:"task_right,omitempty"`
	// TypesRead says where the types were from when memory was read last, "" where it
	// was not.
	TypesRead string `json:"types_read,omitempty"`
	// Latency is from the last progress to the finished diagnosis, from the
	// start of QEMU where there never was any; 0 where nothing stalled.
	Latency time.Duration `json:"latency_ns,omitempty"`
	Wall    time.Duration `json:"wall_ns"`
	Dir     string        `json:"dir,omitempty"`
	Note    string        `json:"note,omitempty"`
}

// truthOf says what a mutant must be found to be.
func truthOf(m Mutant, arch string) Truth {
	t := Truth{ID: arch + "/" + m.Fault + "/" + m.Function, Arch: arch, Fault: m.Fault, Phase: m.Phase, Function: m.Function, Types: m.Types}
	if m.Without != "" {
		t.ID += ", no " + string(m.Without)
	}
	t.ID += m.Types.suffix()
	if m.Initcall && (m.Fault == "sleep" || m.Fault == "spin" || m.Fault == "spin-irqs-off" || m.Fault == "crash") {
		// PID 1 runs the initcalls, before it has another program.
		t.Task = Task{Comm: "swapper/0", PID: 1}
	}
	switch m.Fault {
	case "leak-lock":
		// Whoever wants the lock next sleeps, or spins where it is a spinlock;
		// and with the lock, interrupts or preemption can stay off.
		t.Kinds = []result.Kind{result.KindHang, result.KindLockup}
		t.Causes = append([]result.Cause{result.CauseKernelWait, result.CauseHungTask, result.CauseInitcall, result.CauseModule, result.CauseProbe,
			result.CauseSpin, result.CauseSoftLockup, result.CauseHardLockup, result.CauseRCUStall}, lockCauses...)
	case "spin", "spin-irqs-off":
		t.Kinds = []result.Kind{result.KindLockup, result.KindHang}
		t.Causes = []result.Cause{result.CauseSpin, result.CauseSoftLockup, result.CauseHardLockup, result.CauseRCUStall}
	case "sleep":
		t.Kinds = []result.Kind{result.KindHang}
		t.Causes = []result.Cause{result.CauseKernelWait, result.CauseHungTask, result.CauseInitcall, result.CauseModule, result.CauseProbe}
	case "crash":
		t.Kinds = []result.Kind{result.KindOops, result.KindPanic}
		t.Causes = []result.Cause{result.CauseOops, result.CausePanic}
		if m.Phase == noHandlers {
			// Nothing handles the exception yet: on x86 a triple fault.
			t.Kinds = append(t.Kinds, result.KindReset, result.KindRebootLoop)
			t.Causes = append(t.Causes, result.CauseTripleFault, result.CauseRebootLoop)
		}
	case "reset":
		t.Kinds = []result.Kind{result.KindReset, result.KindRebootLoop}
		t.Causes = []result.Cause{result.CauseTripleFault, result.CauseRebootLoop}
	}
	return t
}

// lockCauses are the waits for a lock of the kernel's.
var lockCauses = []result.Cause{result.CauseMutex, result.CauseRWSem, result.CauseSemaphore, result.CauseDeadlock}

// lockRoutine matches the kernel's functions in which a CPU or a task waits for
// a lock.
var lockRoutine = regexp.MustCompile(`(^|_)(spin_lock|spin_trylock|read_lock|write_lock|queued_\w+_slowpath|mutex_lock|rwsem_down|down_(read|write|timeout|interruptible|killable)|down$|rt_mutex_\w*lock|(mutex|rwsem)_spin_on_owner|rwsem_optimistic_spin|osq_lock)`)

// waitsForLock says that the diagnosis is a wait for a lock, and whether it
// names the function that waits, beside the routine of the lock.
func waitsForLock(d *result.Diagnosis) (is, named bool) {
	words := strings.FieldsFunc(d.Title+" "+d.Summary, func(r rune) bool {
		return r != '_' && r != '.' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
	is = slices.Contains(lockCauses, d.Cause) || lockRoutine.MatchString(d.Function) || slices.ContainsFunc(words, lockRoutine.MatchString)
	return is, is && d.Function != "" && !lockRoutine.MatchString(d.Function)
}

// badSleep are the kernel's words for a task that sleeps where it must not: the
// seeded sleep has then become another fault, a crash.
var badSleep = regexp.MustCompile(`BUG: scheduling while atomic|bad: scheduling from the idle thread|sleeping function called from invalid context|Voluntary context switch within RCU`)

// score compares a Result with the truth. log is the console.
func score(t Truth, r *result.Result, log []byte) Score {
	s := Score{Truth: t, Outcome: r.Outcome, Wall: r.Times.Wall, Dir: r.Dir}
	if r.Outcome == scenarios.Hung {
		s.Latency = r.Times.Diagnosed - r.Times.Stalled
	}
	if r.Outcome == scenarios.Booted {
		s.Verdict = NoEffect
		if crashed.Match(log) {
			s.Note = "it booted although the console shows a crash"
		}
		return s
	}
	for _, stall := range r.Stalls {
		s.TypesRead = cmp.Or(stall.Memory.Types, s.TypesRead)
	}
	d := r.Diagnosis
	if d == nil || r.Outcome == scenarios.Slow {
		s.Verdict = Missed
		return s
	}
	s.Kind, s.Cause, s.Title, s.Confidence = d.Kind, d.Cause, d.Title, d.Confidence
	kinds, causes := t.Kinds, t.Causes
	if needsTask(t.Fault) && badSleep.Match(log) {
		s.Note = "sleeping function called from atomic context"
		kinds = append([]result.Kind{result.KindOops, result.KindPanic, result.KindLockup}, kinds...)
		causes = nil
	}
	s.KindRight = slices.Contains(kinds, d.Kind)
	s.CauseRight = len(causes) == 0 || slices.Contains(causes, d.Cause)
	s.Task, s.TaskJudged = d.Task, t.Task != Task{}
	s.TaskRight = s.TaskJudged && t.Task.is(d.Task)
	s.Placed = place(t, r, log)
	s.Verdict = verdict(s, d)
	return s
}

// crashed are the kernel's words for a crash.
var crashed = regexp.MustCompile(`(?m)^(\[[ 0-9.]+\] )?(Oops|Internal error|BUG:|invalid opcode|Unexpected kernel BRK)`)

func verdict(s Score, d *result.Diagnosis) Verdict {
	said := d.Cause != result.CauseUnknown && d.Kind != result.KindUnknown && d.Kind != result.KindEarlyDeath
	switch {
	case s.KindRight && s.CauseRight && (s.Placed == ByDiagnosis || s.Placed == NotJudged):
		return Right
	case !said:
		return Unknown
	case !s.KindRight:
		return Wrong
	case s.Placed == ByEvidence || s.Placed == ByRegisters || s.Placed == ByDiagnosis:
		return Near
	case d.Function != "" && s.Placed != NotJudged:
		return Wrong // it names another function
	default:
		return Unplaced
	}
}

// place says where the truth's function, or system call, is named.
func place(t Truth, r *result.Result, log []byte) Placed {
	d := r.Diagnosis
	reset := slices.Contains(t.Kinds, result.KindReset) && (d.Kind == result.KindReset || d.Kind == result.KindRebootLoop)
	if t.Function == "" && t.Syscall == "" || t.Fault == "reset" || reset {
		return NotJudged
	}
	if t.Function == "" {
		if d.Syscall == t.Syscall {
			return ByDiagnosis
		}
		return Nowhere
	}
	// What the compiler adds to a name (.isra.0) differs from build to build,
	// and a title leaves it out.
	function, _, _ := strings.Cut(t.Function, ".")
	name := regexp.MustCompile(`(^|[^\w.])` + regexp.QuoteMeta(function) + `(\.[\w.]+)?([^\w.]|$)`)
	texts := []string{d.Function, d.Title, d.Summary}
	for _, l := range d.Chain {
		texts = append(texts, l.Func)
	}
	lock, waiter := waitsForLock(d)
	if t.Fault == "leak-lock" && strings.HasPrefix(d.Title, "BUG: scheduling while atomic") && d.Function != "" {
		// The task that holds the lock goes to sleep, or back to user space,
		// before anybody wants the lock: there the kernel notices.
		return ByDiagnosis
	}
	if slices.ContainsFunc(texts, name.MatchString) || t.Fault == "leak-lock" && waiter {
		return ByDiagnosis
	}
	if t.Fault == "leak-lock" && lock && d.Function != "" {
		return ByEvidence
	}
	for _, e := range d.Evidence {
		if slices.ContainsFunc(e.Lines, name.MatchString) {
			return ByEvidence
		}
	}
	for _, st := range r.Stalls {
		for _, reg := range st.Registers {
			if name.MatchString(reg.Symbol) {
				return ByRegisters
			}
		}
	}
	if name.Match(log) {
		return ByConsole
	}
	return Nowhere
}
