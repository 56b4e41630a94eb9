package diagnose

import (
	"github.com/unwedge/unwedge/harness/internal/model"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/result"
)

// How much evidence is kept: pieces, and lines of each kind.
const (
	maxEvidence    = 32
	maxTaskLines   = 48
	maxReportLines = 40
)

func (f *facts) reportEvidence(what string, r *dump.Report) result.Evidence {
	return result.Evidence{What: what, Lines: f.d.Evidence(r.Offset, r.End, r.Caller, maxReportLines), Offset: r.Offset, Source: sourceConsole}
}

func (f *facts) eventEvidence(what string, e dump.Event) result.Evidence {
	lines := f.d.Evidence(e.Offset, e.End, model.Caller{}, 1)
	if lines == nil {
		lines = []string{e.Text}
	}
	return result.Evidence{What: what, Lines: lines, Offset: e.Offset, Source: sourceConsole}
}

func (f *facts) taskEvidence(t *model.Task) result.Evidence {
	what := "the stack of " + t.String() + ", state " + t.State
	src := f.source(t)
	if src == sourceMemory {
		return memoryEvidence(what, t)
	}
	return result.Evidence{
		What: what, Offset: t.Offset, Source: src,
		Lines: f.d.Evidence(t.Offset, t.End, t.Caller, maxTaskLines),
	}
}

// source is where the stack of a task is from.
func (f *facts) source(t *model.Task) string {
	if src, ok := f.tasks.from[t]; ok {
		return src
	}
	return sourceConsole
}

// memoryEvidence is the stack of a task of Input.Memory.
func memoryEvidence(what string, t *model.Task) result.Evidence {
	return result.Evidence{What: what, Lines: clipLines(t.Lines()), Offset: -1, Source: sourceMemory}
}

func clipLines(lines []string) []string { return lines[:min(len(lines), maxTaskLines)] }

// agentEvidence is the last report of the agent, nil if there is none.
func (f *facts) agentEvidence() []result.Evidence {
	n := len(f.in.Agent)
	if n == 0 {
		return nil
	}
	b, err := f.in.Agent[n-1].Line()
	if err != nil {
		return nil
	}
	return []result.Evidence{{What: "the last report of the guest agent", Lines: []string{string(b)}, Offset: -1, Source: sourceAgent}}
}

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
