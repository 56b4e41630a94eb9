package result

import (
	"slices"

	"github.com/unwedge/unwedge/scenarios"
)

// Severity is how bad a finding is.
type Severity string

// The severities, the worst first.
const (
	Fatal   Severity = "fatal"   // it ended the boot
	Error   Severity = "error"   // memory may be damaged, or a part of the machine has stopped
	Warning Severity = "warning" // the kernel found what should not be, and went on
	Note    Severity = "note"    // not the kernel's fault: a bug of the firmware or the hardware
)

// severities are in order, the mildest first.
var severities = []Severity{Note, Warning, Error, Fatal}

// Rank is 1 for a note, and more for what is worse; 0 for a word that is not known.
func (s Severity) Rank() int { return slices.Index(severities, s) + 1 }

// FindingKind is the kind of a report of the kernel.
type FindingKind string

// The kinds of findings.
const (
	FindingPanic     FindingKind = "panic"                   // the kernel panicked
	FindingOops      FindingKind = "oops"                    // a bad access, an invalid opcode or the like
	FindingBug       FindingKind = "bug"                     // BUG(), or another line that begins with BUG:
	FindingKASAN     FindingKind = "kasan"                   // KASAN: use after free, out of bounds
	FindingKFENCE    FindingKind = "kfence"                  // KFENCE: the same, by sampling
	FindingKMSAN     FindingKind = "kmsan"                   // KMSAN: use of uninitialised memory
	FindingKCSAN     FindingKind = "kcsan"                   // KCSAN: a data race
	FindingUBSAN     FindingKind = "ubsan"                   // UBSAN: undefined behaviour
	FindingWarning   FindingKind = "warning"                 // WARN()
	FindingLockdep   FindingKind = "lockdep"                 // lockdep: a possible deadlock, a lock used wrongly
	FindingRefcount  FindingKind = "refcount"                // a reference count that overflows, or is used after free
	FindingRCUStall  FindingKind = "rcu-stall"               // an RCU grace period does not end
	FindingSoft      FindingKind = "soft-lockup"             // a CPU runs in the kernel without scheduling
	FindingHard      FindingKind = "hard-lockup"             // a CPU is stuck with interrupts disabled
	FindingWorkqueue FindingKind = "workqueue-lockup"        // a workqueue makes no progress
	FindingHungTask  FindingKind = "hung-task"               // a task has been blocked for long
	FindingAtomic    FindingKind = "atomic-sleep"            // a task sleeps where it must not
	FindingPageAlloc FindingKind = "page-allocation-failure" // no memory for an allocation
	FindingIRQ       FindingKind = "irq-nobody-cared"        // an interrupt that no driver handles: it is turned off
	FindingCFI       FindingKind = "cfi-failure"             // an indirect call to a function of another type
	FindingBadPage   FindingKind = "bad-page"                // a page is freed or used in a wrong state
	FindingOOM       FindingKind = "out-of-memory"           // the OOM killer ended a process
	FindingList      FindingKind = "list-corruption"         // a linked list is corrupted
	FindingLeak      FindingKind = "memory-leak"             // kmemleak suspects leaks
	FindingFirmware  FindingKind = "firmware-bug"            // the kernel complains of the firmware
	FindingHardware  FindingKind = "hardware-error"          // the hardware reported an error
)

// Finding is one report of the kernel, in a good boot or a bad one. Repetitions of
// it in the same boot are counted. Its texts are safe to show, as those of a
// Diagnosis.
type Finding struct {
	// Title is one line that is the same in every boot, as that of a Diagnosis.
	Title string `json:"title"`
	// Kind is the kind of report.
	Kind FindingKind `json:"kind"`
	// Severity is how bad it is.
	Severity Severity `json:"severity"`
	// Function is the kernel function that it is about.
	Function string `json:"function,omitempty"`
	// Boot is the number of the boot in the log that it was in, from 0.
	Boot int `json:"boot"`
	// Count is how often it was reported in that boot.
	Count int `json:"count"`
	// Time is the kernel's time stamp of the first time, in seconds of guest time.
	Time float64 `json:"guest_s,omitempty"`
	// Lines are the first lines of the report, as printed.
	Lines []string `json:"lines,omitempty"`
	// Offset is where it begins in the log, in bytes.
	Offset int64 `json:"offset"`
	// Known is the entry of the user's list of what is known that it matches: such a
	// finding does not count.
	Known *Known `json:"known,omitempty"`
	// New says that the good boot or log that it was compared with did not have it.
	New bool `json:"new,omitempty"`
}

// Known is an entry of a list of known findings and failures.
type Known struct {
	// Pattern is the regular expression that the title matches; empty for any.
	Pattern string `json:"pattern" yaml:"pattern"`
	// Signature is the failure's, see Diagnosis; empty for any. An entry with one is not
	// for findings.
	Signature string `json:"signature,omitempty" yaml:"signature"`
	// Arch is the architecture that the entry is for; empty for all.
	Arch string `json:"arch,omitempty" yaml:"arch"`
	// Releases is the range of kernels that it is for, such as 6.12..7.3, both ends
	// included; empty for all.
	Releases string `json:"releases,omitempty" yaml:"releases"`
	// Reason is why it does not count.
	Reason string `json:"reason" yaml:"reason"`
	// Link is where more is said.
	Link string `json:"link,omitempty" yaml:"link"`
	// Expires is the last day on which the entry holds, YYYY-MM-DD; empty for ever.
	Expires string `json:"expires,omitempty" yaml:"expires"`
}

// Baseline are the findings of a good boot or log.
type Baseline struct {
	// From is the file that they are from.
	From string `json:"from"`
	// Findings are the findings.
	Findings []Finding `json:"findings,omitempty"`
}

// Mark returns the findings with those marked that the baseline does not have, and how
// many these are. Findings are the same if their titles are.
func (b Baseline) Mark(list []Finding) (marked []Finding, fresh int) {
	for _, f := range list {
		f.New = !slices.ContainsFunc(b.Findings, func(old Finding) bool { return old.Title == f.Title })
		if f.New {
			fresh++
		}
		marked = append(marked, f)
	}
	return marked, fresh
}

// Worst is the first of the findings with the highest severity, but for known ones;
// nil if there are none.
func Worst(list []Finding) *Finding {
	var worst *Finding
	for i := range list {
		if list[i].Known != nil {
			continue
		}
		if worst == nil || list[i].Severity.Rank() > worst.Severity.Rank() {
			worst = &list[i]
		}
	}
	return worst
}

// Explanation is what a log shows: where and why its last boot is blocked, and every
// report of the kernel in it.
type Explanation struct {
	Diagnosis
	// Findings are the kernel's reports, of all boots in the log, in order.
	Findings []Finding `json:"findings,omitempty"`
	// Boots is how many boots the log shows, at least 1.
	Boots int `json:"boots"`
}

// LastBoot are the findings of the last boot of the log.
func (e Explanation) LastBoot() []Finding {
	var out []Finding
	for _, f := range e.Findings {
		if f.Boot == e.Boots-1 {
			out = append(out, f)
		}
	}
	return out
}

// Clean says that nothing in the findings is worse than a note, but for known ones.
func Clean(list []Finding) bool { return Tolerated(list, scenarios.FindingsNone) }

// Tolerated says whether a scenario that allows such findings allows these. Known ones
// do not count. The zero value of allowed means warnings.
func Tolerated(list []Finding, allowed scenarios.Findings) bool {
	most := map[scenarios.Findings]Severity{"": Warning, scenarios.FindingsNone: Note, scenarios.FindingsWarnings: Warning, scenarios.FindingsAny: Fatal}
	return !slices.ContainsFunc(list, func(f Finding) bool { return f.Known == nil && f.Severity.Rank() > most[allowed].Rank() })
}
