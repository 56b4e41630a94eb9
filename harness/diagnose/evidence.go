package diagnose

import "github.com/unwedge/unwedge/harness/dump"

// How much evidence is kept: pieces, and lines of each kind.
const (
	maxEvidence    = 32
	maxTaskLines   = 48
	maxReportLines = 40
)

func (f *facts) reportEvidence(what string, r *dump.Report) Evidence {
	return Evidence{What: what, Lines: f.d.Evidence(r.Offset, r.End, r.Caller, maxReportLines), Offset: r.Offset, Source: sourceConsole}
}

func (f *facts) eventEvidence(what string, e dump.Event) Evidence {
	lines := f.d.Evidence(e.Offset, e.End, dump.Caller{}, 1)
	if lines == nil {
		lines = []string{e.Text}
	}
	return Evidence{What: what, Lines: lines, Offset: e.Offset, Source: sourceConsole}
}

func (f *facts) taskEvidence(t *dump.Task) Evidence {
	what := "the stack of " + t.String() + ", state " + t.State
	src := f.source(t)
	if src == sourceMemory {
		return memoryEvidence(what, t)
	}
	return Evidence{
		What: what, Offset: t.Offset, Source: src,
		Lines: f.d.Evidence(t.Offset, t.End, t.Caller, maxTaskLines),
	}
}

// source is where the stack of a task is from.
func (f *facts) source(t *dump.Task) string {
	if src, ok := f.tasks.from[t]; ok {
		return src
	}
	return sourceConsole
}

// memoryEvidence is the stack of a task of Input.Memory.
func memoryEvidence(what string, t *dump.Task) Evidence {
	return Evidence{What: what, Lines: clipLines(t.Lines()), Offset: -1, Source: sourceMemory}
}

func clipLines(lines []string) []string { return lines[:min(len(lines), maxTaskLines)] }

// agentEvidence is the last report of the agent, nil if there is none.
func (f *facts) agentEvidence() []Evidence {
	n := len(f.in.Agent)
	if n == 0 {
		return nil
	}
	b, err := f.in.Agent[n-1].Line()
	if err != nil {
		return nil
	}
	return []Evidence{{What: "the last report of the guest agent", Lines: []string{string(b)}, Offset: -1, Source: sourceAgent}}
}
