package diagnose

import (
	"github.com/unwedge/unwedge/harness/internal/model"

	"github.com/unwedge/unwedge/harness/result"

	"bytes"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/images/agentproto"
)

// Diagnose says where the boot is blocked and why. It never fails: without
// facts the cause is CauseUnknown.
func Diagnose(in Input) result.Diagnosis {
	f := gather(in)
	var out *result.Diagnosis
	var won *rule
	var notes []string
	rules := ruleTable()
	for i := range rules {
		r := &rules[i]
		got := r.fire(f)
		if got == nil {
			continue
		}
		if out == nil {
			out, won = got, r
			continue
		}
		if got.Cause == out.Cause || r.family == won.family || r.family == famNone || r.family == famEnding {
			continue
		}
		notes = append(notes, "also seen: "+got.Title)
		if rivals(won.family, r.family) && out.Confidence == result.Certain {
			out.Confidence = result.Likely
		}
	}
	f.finish(out, notes)
	return *out
}

// Explain diagnoses a log alone: a serial console, dmesg or a journal.
// What unwedge's own agent wrote to it counts.
func Explain(log []byte) result.Diagnosis {
	d := dump.Parse(log)
	return Diagnose(Input{Log: log, Dump: d, Agent: agentLines(log[min(bootStart(d), int64(len(log))):])})
}

// maxAgent bounds the agent's reports that are read from a log.
const maxAgent = 64

// agentLines reads the agent's reports from a console log, the last ones.
func agentLines(log []byte) []agentproto.Report {
	var out []agentproto.Report
	prefix := []byte(agentproto.Prefix)
	for {
		i := bytes.Index(log, prefix)
		if i < 0 {
			return out
		}
		line := log[i:min(len(log), i+len(prefix)+agentproto.MaxLine+64)]
		if n := bytes.IndexByte(line, '\n'); n >= 0 {
			line = line[:n]
		}
		if r, err := agentproto.Parse(line); err == nil {
			if len(out) == maxAgent {
				out = out[1:]
			}
			out = append(out, r)
		}
		log = log[i+len(prefix):]
	}
}

// family groups rules by what kind of fact they rest on.
type family int

const (
	famFatal   family = iota // the kernel or user space gave up: nothing comes after it
	famCrash                 // oops
	famLockup                // a detector of the kernel
	famHang                  // the wait chain
	famConsole               // what user space says on the console
	famEnding                // how the run ended
	famNone
)

// rivals says whether facts of a later rule throw doubt on the cause of an
// earlier one. What is fatal is not doubted, and what the console says of a
// waiting job goes with the wait chain.
func rivals(won, other family) bool {
	switch won {
	case famCrash, famLockup:
		return other == famHang || other == famLockup
	case famHang:
		return other == famCrash || other == famLockup
	}
	return false
}

// rule is one cause. fire returns nil unless the rule's own facts are there.
type rule struct {
	name   string
	family family
	fire   func(*facts) *result.Diagnosis
}

// ruleTable is tried in order, the most specific first. The first that fires is
// the answer; the others are noted.
func ruleTable() []rule {
	return []rule{
		{"fips check", famFatal, fipsCheck},
		{"crypto self-test", famFatal, selfTest},
		{"init missing or dead", famFatal, initDied},
		{"root file system", famFatal, rootMount},
		{"out of memory", famFatal, outOfMemory},
		{"reboot loop", famFatal, rebootLoop},
		{"lockup panic", famFatal, lockupPanic},
		{"hung-task panic", famFatal, hungTaskPanic},
		{"oops panic", famFatal, oopsPanic},
		{"panic", famFatal, plainPanic},
		{"dracut gave up", famFatal, dracutFatal},
		{"systemd crashed", famFatal, pid1Crashed},
		{"fork bomb", famFatal, forkBomb},
		{"entropy", famHang, entropy},
		{"early exception", famCrash, earlyException},
		{"oops", famCrash, oops},
		{"hard lockup", famLockup, lockup},
		{"running task", famLockup, runaway},
		{"deadlock", famHang, deadlock},
		{"lock", famHang, lockWait},
		{"CPU kept", famHang, keepsCPU},
		{"module or probe", famHang, moduleLoad},
		{"mount", famHang, mountStuck},
		{"root device", famHang, rootDevice},
		{"initcall", famHang, initcall},
		{"io and other kernel waits", famHang, kernelWait},
		{"emergency", famConsole, emergency},
		{"shell for init", famHang, shellInstead},
		{"user space", famHang, userWait},
		{"hung task", famHang, hungTask},
		{"start job", famConsole, startJob},
		{"ordered shutdown", famEnding, orderedShutdown},
		{"triple fault", famEnding, tripleFault},
		{"console flood", famEnding, consoleFlood},
		{"spinning vCPU", famEnding, spinning},
		{"silent", famEnding, silent},
		{"console handed over", famEnding, handedOver},
		{"start-up sleeps", famEnding, startUpSleeps},
		{"booted", famNone, booted},
		{"unknown", famNone, unknown},
	}
}

// facts is everything the rules look at.
type facts struct {
	in    Input
	d     *dump.Dump
	tasks *taskSet
	chain *chain
	end   *model.Task // the last task of the chain, nil if there is none
	wait  wait        // its wait
}

func gather(in Input) *facts {
	d := in.Dump
	if d == nil {
		d = dump.Parse(in.Log)
	}
	if len(in.Owners) > 0 { // the latest word counts
		with := *d
		with.Owners = append(slices.Clone(d.Owners), in.Owners...)
		d = &with
	}
	in.VCPUs = atRest(in.VCPUs)
	f := &facts{in: in, d: d, tasks: collect(d, in)}
	f.chain = follow(f.tasks, d)
	f.end, f.wait = f.chain.end()
	return f
}

// finish adds what every Diagnosis has.
func (f *facts) finish(out *result.Diagnosis, notes []string) {
	out.Stage = string(f.d.Boot.Stage)
	if n := len(f.in.Agent); n > 0 {
		out.Stage = string(f.in.Agent[n-1].Stage)
	}
	if out.Chain == nil && (out.Kind == result.KindHang || out.Kind == result.KindLockup || out.Kind == result.KindUnknown || out.Kind == result.KindHalted) {
		out.Chain = f.chain.links(f.tasks)
	}
	f.waitFacts(out)
	out.Compared = f.compareSources()
	f.doubt(out)
	if out.Kind == result.KindHang || out.Kind == result.KindUnknown {
		out.Notes = append(out.Notes, f.chain.notes...)
		if f.chain.torn && len(f.chain.tasks) > 0 {
			if f.tasks.source == sourceMemory {
				out.Notes = append(out.Notes, "memory did not show all tasks")
			} else {
				out.Notes = append(out.Notes, "the task dump is torn: tasks may be missing")
			}
			if out.Confidence == result.Certain {
				out.Confidence = result.Likely
			}
		}
		if len(f.chain.notes) > 0 && out.Confidence == result.Certain && len(out.Chain) > 0 {
			out.Confidence = result.Likely
		}
	}
	if out.Kind == result.KindHang && f.end != nil && out.Task != nil && out.Task.PID == f.end.PID {
		f.compare(out)
	}
	f.userStack(out)
	if out.Kind == result.KindHang && out.Task != nil {
		out.Evidence = append(out.Evidence, f.vcpuEvidence()...)
	}
	out.Evidence = out.Evidence[:min(len(out.Evidence), maxEvidence)]
	if f.tasks.swallowed {
		out.Notes = append(out.Notes, "a task dump was asked for and only its header came: the console log level was too low (sysrq-9 first)")
	}
	if _, ok := f.d.Last(dump.SectionDisabled); ok {
		out.Notes = append(out.Notes, "the kernel refused a sysrq key: boot with sysrq_always_enabled")
	}
	if r := f.report(dump.ReportSoft, dump.ReportHard); r != nil && f.allRest() && r.Title != out.Title {
		out.Notes = append(out.Notes, "a CPU was locked up before, and rests now: "+r.Title)
	}
	if e, ok := f.d.Boot.Event(dump.EventImitation); ok {
		out.Notes = append(out.Notes, "user space printed what looks like a report of the kernel's, and is none: "+e.Text)
	}
	for _, a := range f.in.Attempts {
		if !a.Yielded && a.Detail != "" {
			out.Notes = append(out.Notes, "sysrq-"+a.Key+" by "+a.Route+" gave nothing: "+a.Detail)
		}
	}
	out.Notes = append(out.Notes, notes...)
	if r := f.report(dump.ReportBug, dump.ReportKASAN, dump.ReportLockdep, dump.ReportWarning); r != nil && r.Title != out.Title && out.Cause != result.CauseNone {
		out.Notes = append(out.Notes, "the kernel complained: "+r.Title)
	}
	clean(out)
	out.Signature = signature(out)
}

// compare looks for the blocked task in the task dump before the last one of
// this boot: one stack alone does not tell a wait that lasts from one that was
// met by chance.
func (f *facts) compare(out *result.Diagnosis) {
	now := f.tasks.section
	if now == nil || now.Kind != dump.SectionState {
		return
	}
	var before *dump.Section
	for i := range f.d.Sections {
		s := &f.d.Sections[i]
		if s.Kind == dump.SectionState && s.Offset < now.Offset && s.Offset >= bootStart(f.d) && len(s.Tasks) > 0 && s.Complete {
			before = s
		}
	}
	if f.changedLater(now) {
		out.Notes = append(out.Notes, "a later, torn task dump shows another state of affairs: the boot moved between the two")
		if out.Confidence == result.Certain {
			out.Confidence = result.Likely
		}
	}
	if before == nil {
		return
	}
	for i := range before.Tasks {
		t := &before.Tasks[i]
		if t.PID != f.end.PID || t.Comm != f.end.Comm {
			continue
		}
		if sameStack(t, f.end) || f.tasks.asPrinted[t.PID] != nil && sameStack(t, f.tasks.asPrinted[t.PID]) {
			out.Notes = append(out.Notes, "an earlier task dump shows the same task with the same stack")
			return
		}
		break
	}
	out.Notes = append(out.Notes, "an earlier task dump shows another state of affairs: the boot moved between the two")
	if out.Confidence == result.Certain {
		out.Confidence = result.Likely
	}
}

// changedLater says that a dump behind the one that is used, because it is whole,
// shows another stack of the blocked task.
func (f *facts) changedLater(now *dump.Section) bool {
	for i := range f.d.Sections {
		s := &f.d.Sections[i]
		if s.Kind != dump.SectionState || s.Offset <= now.Offset {
			continue
		}
		for j := range s.Tasks {
			if t := &s.Tasks[j]; t.PID == f.end.PID && len(t.Frames) > 0 && !sameStack(t, f.end) {
				return true
			}
		}
	}
	return false
}

// sameStack compares the functions of two call chains.
func sameStack(a, b *model.Task) bool {
	return slices.EqualFunc(a.Chain(), b.Chain(), func(x, y model.Frame) bool { return x.Func == y.Func && x.Off == y.Off })
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// inLastBoot says whether a report belongs to the last boot.
func (f *facts) inLastBoot(r *dump.Report) bool { return r.Boot == max(0, f.d.Boot.KernelCount-1) }

// report returns the first report of a kind in the last boot.
func (f *facts) report(kinds ...dump.ReportKind) *dump.Report {
	return f.firstReport(func(r *dump.Report) bool { return slices.Contains(kinds, r.Kind) })
}

// firstReport returns the first report of the last boot that fits.
func (f *facts) firstReport(fits func(*dump.Report) bool) *dump.Report {
	for i := range f.d.Reports {
		if r := &f.d.Reports[i]; f.inLastBoot(r) && fits(r) {
			return r
		}
	}
	return nil
}

// panicReport returns the first panic whose reason holds one of the words.
func (f *facts) panicReport(words ...string) *dump.Report {
	for i := range f.d.Reports {
		r := &f.d.Reports[i]
		if r.Kind != dump.ReportPanic || !f.inLastBoot(r) {
			continue
		}
		if len(words) == 0 {
			return r
		}
		for _, w := range words {
			if strings.Contains(r.Text, w) {
				return r
			}
		}
	}
	return nil
}

// cmdline is the kernel command line, of the console or of the scenario.
func (f *facts) cmdline() string {
	if f.d.Boot.Cmdline != "" {
		return f.d.Boot.Cmdline
	}
	if f.in.Scenario != nil {
		return f.in.Scenario.Cmdline
	}
	return ""
}

// hasArg says whether the command line holds a word.
func (f *facts) hasArg(arg string) bool {
	for w := range strings.FieldsSeq(f.cmdline()) {
		if w == arg {
			return true
		}
	}
	return false
}

func (f *facts) fips() bool {
	return f.in.Scenario != nil && f.in.Scenario.FIPS || f.hasArg("fips=1")
}

// argument gives the value of a `name=value` word, the last one.
func (f *facts) argument(name string) string {
	v := ""
	for w := range strings.FieldsSeq(f.cmdline()) {
		if rest, ok := strings.CutPrefix(w, name+"="); ok {
			v = rest
		}
	}
	return v
}

// hang starts a Diagnosis of the last task of the chain.
func (f *facts) hang(cause result.Cause, where result.Where, confidence result.Confidence) *result.Diagnosis {
	out := &result.Diagnosis{Kind: result.KindHang, Cause: cause, Where: where, Confidence: confidence}
	if f.end != nil {
		out.Task = &result.Blocked{Comm: f.end.Comm, PID: f.end.PID, State: f.end.State}
		out.Function = f.wait.fn
		if f.end.Syscall != nil && f.wait.mech != onStop {
			out.Syscall = f.end.Syscall.Name
		}
		out.Evidence = append(out.Evidence, f.taskEvidence(f.end))
		if first := f.chain.tasks[0]; first != f.end {
			out.Evidence = append(out.Evidence, f.taskEvidence(first))
		}
	}
	return out
}

// who names the end of the chain and how the boot gets there.
func (f *facts) who() string {
	if f.end == nil {
		return "the boot"
	}
	if len(f.chain.tasks) < 2 || !f.chain.fromInit {
		return f.end.String()
	}
	tasks := f.chain.tasks
	s := tasks[0].String() + " waits for " + tasks[1].String() + ","
	rest := tasks[2:]
	if len(rest) > 4 {
		s += " and so on,"
		rest = rest[len(rest)-2:]
	}
	for _, t := range rest {
		s += " which waits for " + t.String() + ","
	}
	return s + " which"
}

// stableComm is a task's name fit for a title: instance numbers of kworkers and
// the like are cut.
func stableComm(t *model.Task) string {
	if t == nil {
		return "?"
	}
	if strings.HasPrefix(t.Comm, "kworker/") {
		return "kworker"
	}
	if t.PID == 1 && t.Comm == "swapper/0" {
		return "kernel_init"
	}
	return t.Comm
}

func asConfidence(sure bool) result.Confidence {
	if sure {
		return result.Certain
	}
	return result.Likely
}
