package findings

import (
	"strings"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/result"
)

// row says what kind of finding a report is, and how bad. An error may have damaged
// memory or has stopped a part of the machine; after a warning the kernel goes on as
// before.
type row struct {
	report   dump.ReportKind
	text     string // the kernel's first line holds it; "" for any
	kind     result.FindingKind
	severity result.Severity
}

// rows are tried in order, the more specific first.
var rows = []row{
	{dump.ReportPanic, "", result.FindingPanic, result.Fatal},

	{dump.ReportBug, "lib/list_debug.c", result.FindingList, result.Error},
	{dump.ReportBug, "BUG: Bad page ", result.FindingBadPage, result.Error},
	{dump.ReportBug, "BUG: scheduling while atomic", result.FindingAtomic, result.Error},
	{dump.ReportBug, "bad: scheduling from the idle thread", result.FindingAtomic, result.Error},
	{dump.ReportBug, "BUG: sleeping function called from invalid context", result.FindingAtomic, result.Error},
	{dump.ReportBug, "BUG: MAX_LOCK", result.FindingLockdep, result.Warning}, // lockdep's tables are full
	{dump.ReportBug, "BUG: memory leak", result.FindingLeak, result.Warning}, // as syzkaller prints kmemleak's
	{dump.ReportBug, "unreferenced object 0x", result.FindingLeak, result.Warning},
	{dump.ReportBug, "", result.FindingBug, result.Error},

	{dump.ReportOops, "CFI", result.FindingCFI, result.Error}, // arm64: "Internal error: Oops - CFI"
	{dump.ReportOops, "", result.FindingOops, result.Error},

	{dump.ReportKASAN, "KFENCE: ", result.FindingKFENCE, result.Error},
	{dump.ReportKASAN, "KMSAN: ", result.FindingKMSAN, result.Error},
	{dump.ReportKASAN, "KCSAN: ", result.FindingKCSAN, result.Warning}, // many races are meant
	{dump.ReportKASAN, "UBSAN: ", result.FindingUBSAN, result.Warning}, // the kernel computes what it would without the check
	{dump.ReportKASAN, "", result.FindingKASAN, result.Error},

	{dump.ReportCFI, "", result.FindingCFI, result.Error},
	{dump.ReportWarning, "kernel/cfi.c", result.FindingCFI, result.Error},
	{dump.ReportWarning, "lib/refcount.c", result.FindingRefcount, result.Error}, // a leak, or a use after free
	{dump.ReportWarning, "lib/list_debug.c", result.FindingList, result.Error},
	{dump.ReportWarning, "", result.FindingWarning, result.Warning},

	{dump.ReportLockdep, "suspicious RCU usage", result.FindingLockdep, result.Warning},
	{dump.ReportLockdep, "non-static key", result.FindingLockdep, result.Warning},
	// A deadlock waits to happen, and lockdep checks nothing after its first report.
	{dump.ReportLockdep, "", result.FindingLockdep, result.Error},

	{dump.ReportSoft, "", result.FindingSoft, result.Error},
	{dump.ReportHard, "", result.FindingHard, result.Error},
	{dump.ReportRCU, "", result.FindingRCUStall, result.Error},
	{dump.ReportWorkqueue, "", result.FindingWorkqueue, result.Error},
	{dump.ReportHungTask, "", result.FindingHungTask, result.Error},

	{dump.ReportOOM, "", result.FindingOOM, result.Error}, // a process was killed
	{dump.ReportPageAlloc, "", result.FindingPageAlloc, result.Warning},
	{dump.ReportIRQ, "", result.FindingIRQ, result.Error}, // the line is turned off, its devices with it
}

// rowOf is the row of a report; false for one that is no finding, such as an ordered
// reboot.
func rowOf(r *dump.Report) (row, bool) {
	for _, x := range rows {
		if x.report == r.Kind && strings.Contains(r.Text, x.text) {
			return x, true
		}
	}
	return row{}, false
}

// Severity is how bad a report is by itself, "" for one that is no finding.
func Severity(r *dump.Report) result.Severity {
	row, _ := rowOf(r)
	return row.severity
}

// eventRow is a finding that is one line.
type eventRow struct {
	kind     result.FindingKind
	severity result.Severity
	prefix   string // what the title begins with
}

var eventRows = map[dump.EventKind]eventRow{
	dump.EventLeak:        {result.FindingLeak, result.Warning, "kmemleak: "},
	dump.EventHardware:    {result.FindingHardware, result.Note, "hardware error: "},
	dump.EventFirmwareBug: {result.FindingFirmware, result.Note, "firmware bug: "},
}

func (r eventRow) title(e *dump.Event) string { return r.prefix + dump.Normalise(e.Subject) }
