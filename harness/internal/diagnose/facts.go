package diagnose

import (
	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/harness/result"
)

// facts are what the rules read and none of them changes. Each value answers
// one question.
type facts struct {
	in      Input       // what the harness saw, as it came
	log     log         // what did the console show?
	cmdline cmdline     // what was the kernel told?
	fips    bool        // was it told to be in FIPS mode?
	agent   agent       // what did the guest agent report?
	cpus    cpus        // what did the virtual CPUs do?
	tasks   *taskSet    // which tasks are there, and how does each wait?
	chain   *chain      // who waits for whom, from PID 1 on?
	end     *model.Task // the last task of the chain, nil if there is none
	wait    wait        // and its wait
}

// gather works the facts out, once.
func gather(in Input) facts {
	if in.Dump == nil {
		in.Dump = dump.Parse(nil)
	}
	f := facts{
		in: in, log: newLog(in.Dump, in.Owners), cmdline: commandLine(in.Dump, in.Scenario),
		agent: in.Agent, cpus: atRest(in.VCPUs),
	}
	f.fips = in.Scenario != nil && in.Scenario.FIPS || f.cmdline.has("fips=1")
	f.tasks = collect(f.log, in)
	f.chain = follow(f.tasks, f.log)
	f.end, f.wait = f.chain.end()
	return f
}

// hang starts a Diagnosis of the last task of the chain.
func hang(f facts, cause result.Cause, where result.Where, confidence result.Confidence) *result.Diagnosis {
	out := &result.Diagnosis{Kind: result.KindHang, Cause: cause, Where: where, Confidence: confidence}
	if f.end != nil {
		out.Task = blockedTask(f.end)
		out.Function = f.wait.fn
		if f.end.Syscall != nil && f.wait.mech != onStop {
			out.Syscall = f.end.Syscall.Name
		}
		out.Evidence = append(out.Evidence, f.tasks.evidence(f.end))
		if first := f.chain.tasks[0]; first != f.end {
			out.Evidence = append(out.Evidence, f.tasks.evidence(first))
		}
	}
	return out
}

// blockedTask is a task as a Diagnosis names it.
func blockedTask(t *model.Task) *result.Blocked {
	return &result.Blocked{Comm: t.Comm, PID: t.PID, State: t.State}
}

// reportedTask is the task that ran when a report was printed, nil if not known.
func reportedTask(r *dump.Report) *result.Blocked {
	if r.Comm == "" {
		return nil
	}
	return &result.Blocked{Comm: r.Comm, PID: r.PID, State: "R"}
}
