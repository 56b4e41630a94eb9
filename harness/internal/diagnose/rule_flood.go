package diagnose

import (
	"fmt"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/result"
)

// minFlood is how much repetition is a flood, in bytes: some thousand lines.
const minFlood = 64 << 10

// consoleFlood: there is no dump, but the guest prints the same lines over and over.
func consoleFlood(f facts) *result.Diagnosis {
	if f.in.Repeated < minFlood || f.end != nil {
		return nil
	}
	last := f.log.lastLine("the last of the repeated lines")
	if last == nil {
		return nil
	}
	text := dump.Normalise(f.log.Boot.LastText)
	where := result.WhereKernel
	if !strings.HasPrefix(strings.TrimLeft(f.log.Boot.LastText, "\r"), "[") {
		where = result.WhereUserspace
	}
	return &result.Diagnosis{
		Kind: result.KindHang, Cause: result.CauseFlood, Where: where, Confidence: result.Likely,
		Title:    "hang: console flood: " + text,
		Summary:  fmt.Sprintf("the guest prints the same lines over and over: %d KiB since its last progress", f.in.Repeated>>10),
		Remedy:   "find what prints the line and why it never stops; the boot may go on with `quiet` or a lower console log level",
		Evidence: append(last, f.cpus.evidence()...),
	}
}
