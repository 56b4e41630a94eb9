package harness

import (
	"github.com/unwedge/unwedge/harness/internal/diagnose"
	"github.com/unwedge/unwedge/harness/result"
)

// Explain diagnoses a boot from its log alone: a serial console, dmesg or a
// kernel journal, also one that unwedge did not record, and lists every report of the
// kernel in it. The log may be cut off or hold arbitrary bytes. A log that says nothing
// useful gives the cause result.CauseUnknown, one of a good boot result.CauseNone;
// Explain never fails.
func Explain(log []byte) result.Explanation { return diagnose.Explain(log) }
