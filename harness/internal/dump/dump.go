package dump

import (
	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// The limits of one Dump. What exceeds them is counted, not kept.
const (
	MaxTasks    = 1 << 16 // over all sections
	MaxFrames   = 128     // of one trace
	MaxSections = 256
	MaxReports  = 512
	MaxEvents   = 2048
)

// SectionKind is what a sysrq key prints.
type SectionKind string

// The kinds of sections.
const (
	SectionState     SectionKind = "state"     // t: all tasks
	SectionBlocked   SectionKind = "blocked"   // w: tasks in D
	SectionCPUs      SectionKind = "cpus"      // l: backtrace of the CPUs
	SectionLocks     SectionKind = "locks"     // d: held locks (lockdep)
	SectionMemory    SectionKind = "memory"    // m
	SectionRegisters SectionKind = "registers" // p
	SectionLogLevel  SectionKind = "loglevel"  // 0..9
	SectionTimers    SectionKind = "timers"    // q
	SectionHelp      SectionKind = "help"      // an unknown key
	SectionDisabled  SectionKind = "disabled"  // "This sysrq operation is disabled."
	SectionCrash     SectionKind = "crash"     // c
	SectionReset     SectionKind = "reset"     // b
	SectionOther     SectionKind = "other"
)

// Section is what the kernel printed for one sysrq key.
type Section struct {
	Kind SectionKind `json:"kind"`
	// Banner is the kernel's first line.
	Banner  string       `json:"banner"`
	Offset  int64        `json:"offset"`
	End     int64        `json:"end"`
	Time    float64      `json:"time,omitempty"`
	Tasks   []model.Task `json:"tasks,omitempty"`
	Dropped int          `json:"dropped,omitempty"` // tasks beyond MaxTasks
	// Missing counts the bytes of it that were lost: it is not Complete.
	Missing int64 `json:"missing,omitempty"`
	// Records counts its records; the console log level suppressed a dump of
	// zero records.
	Records int `json:"records"`
	// Complete says that the dump is known to be whole: the scheduler or
	// workqueue part that follows the tasks was seen, or the next sysrq after a
	// closed trace.
	Complete bool `json:"complete"`
	// Ending is the evidence for Complete.
	Ending string `json:"ending,omitempty"`
}

// Held are the locks that one task holds, says lockdep; the last may be the one
// that it waits for.
type Held struct {
	Comm   string     `json:"comm"`
	PID    int        `json:"pid"`
	Locks  []HeldLock `json:"locks"`
	Offset int64      `json:"offset"`
	End    int64      `json:"end"`
}

// HeldLock is one of them.
type HeldLock struct {
	Addr string `json:"addr"`
	Name string `json:"name"`
	At   string `json:"at"` // the function that took it
}

// Dump is what Parse or a Log found in a console log.
type Dump struct {
	// Arch is the kernel's architecture, "" where the log does not tell.
	Arch arch.Arch `json:"arch,omitempty"`
	// Sections are in the order of the log.
	Sections []Section `json:"sections,omitempty"`
	// Loose are tasks printed outside of a sysrq dump.
	Loose   []model.Task  `json:"loose,omitempty"`
	Reports []Report      `json:"reports,omitempty"`
	Owners  []model.Owner `json:"owners,omitempty"`
	Held    []Held        `json:"held,omitempty"`
	Boot    Boot          `json:"boot"`
	// Bytes and Records are what was read; Dropped counts what exceeded a limit.
	Bytes   int64 `json:"bytes"`
	Records int   `json:"records"`
	Dropped int   `json:"dropped,omitempty"`
	// Missing counts the bytes of the log that were never read, see Log.Add.
	Missing int64 `json:"missing,omitempty"`

	text []piece
}

// Last returns the last complete section of a kind, else the last one with any
// task, else the last one.
func (d *Dump) Last(kind SectionKind) (*Section, bool) {
	var complete, full, last *Section
	for i := range d.Sections {
		s := &d.Sections[i]
		if s.Kind != kind {
			continue
		}
		last = s
		if len(s.Tasks) > 0 || s.Records > 1 {
			full = s
		}
		if s.Complete && (len(s.Tasks) > 0 || kind != SectionState) {
			complete = s
		}
	}
	for _, s := range []*Section{complete, full, last} {
		if s != nil {
			return s, true
		}
	}
	return nil, false
}

// Evidence returns the lines of a range of the log as printed, at most limit,
// without those that are no longer kept (see NewLog). With a caller, lines of
// other callers are left out.
func (d *Dump) Evidence(off, end int64, c model.Caller, limit int) []string {
	if off < 0 || off >= end || end > d.Bytes {
		return nil
	}
	var out []string
	for part := range between(d.text, off, end) {
		for r := range Records(part) {
			if c.Kind != 0 && r.Caller.Kind != 0 && r.Caller != c {
				continue
			}
			line := console.Strip(trimEnd(part[r.Offset:r.End]))
			out = append(out, string(line[:min(len(line), 400)]))
			if len(out) == limit {
				return out
			}
		}
	}
	return out
}
