package result

import "slices"

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
}

// Worst is the first of the findings with the highest severity, nil if there are
// none.
func Worst(list []Finding) *Finding {
	var worst *Finding
	for i := range list {
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

// Clean says that nothing in the findings is worse than a note.
func Clean(list []Finding) bool {
	worst := Worst(list)
	return worst == nil || worst.Severity == Note
}
