package diagnose

import (
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/harness/result"
)

// How much evidence is kept: pieces, and lines of each kind.
const (
	maxEvidence    = 32
	maxTaskLines   = 48
	maxReportLines = 40
)

// memoryEvidence is the stack of a task of Input.Memory.
func memoryEvidence(what string, t *model.Task) result.Evidence {
	return result.Evidence{What: what, Lines: clipLines(t.Lines()), Offset: -1, Source: sourceMemory}
}

func clipLines(lines []string) []string { return lines[:min(len(lines), maxTaskLines)] }

// The sources of evidence.
const (
	sourceConsole = "console"
	sourceState   = "sysrq-t"
	sourceBlocked = "sysrq-w"
	sourceMemory  = "memory"
	sourceRegs    = "registers"
	sourceAgent   = "agent"
	sourceQMP     = "qmp"
)
