package harness

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/unwedge/unwedge/harness/internal/boot"
	"github.com/unwedge/unwedge/harness/internal/calibrate"
	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/experiment"
	"github.com/unwedge/unwedge/harness/internal/guestmem"
	"github.com/unwedge/unwedge/harness/internal/known"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
	"github.com/unwedge/unwedge/scenarios"
)

// outcome is all that a Result is made of.
type outcome struct {
	boot      *boot.Boot
	outcome   scenarios.Outcome // the boot's, unless the guest is not as it should be
	why       string
	running   *result.Running
	modules   []result.Module
	diagnosis *result.Diagnosis // nil of a good boot
	diagnosed time.Time
	probed    experiment.Findings
	notes     []string
}

// verify checks that a guest that has booted is as the scenario asks.
func (o *outcome) verify(req Request) {
	b := o.boot
	o.outcome, o.why = b.Outcome, b.Why
	o.modules = triedModules(req.Modules, b.Reports)
	if b.Outcome != scenarios.Booted {
		return
	}
	if len(b.Reports) == 0 {
		if why := wrongKernel(o.running, req.Kernel); why != "" {
			o.outcome, o.why = scenarios.WrongState, why
		}
		return
	}
	last := b.Reports[len(b.Reports)-1]
	if why := cmp.Or(wrongKernel(o.running, req.Kernel), wrongState(last, req), wrongModule(o.modules)); why != "" {
		o.outcome, o.why = scenarios.WrongState, why
	} else if last.BuildID == "" && req.Kernel.BuildID != "" {
		o.notes = append(o.notes, "no build ID reported; kernel identified by release only")
	}
}

// identify finds out which kernel ran: by the agent's last report, else by memory.
func (o *outcome) identify(ctx context.Context, g boot.Guest) {
	if n := len(o.boot.Reports); n > 0 {
		last := o.boot.Reports[n-1]
		o.running = &result.Running{
			Release: console.SanitizeMax(last.Release, 64), BuildID: console.SanitizeMax(last.BuildID, 64), From: result.FromAgent,
		}
		return
	}
	ctx, cancel := context.WithTimeout(ctx, identifyTime)
	defer cancel()
	ram, _, err := g.Memory(ctx)
	var k guestmem.Running
	if err == nil {
		k, err = guestmem.RunningKernel(ctx, ram)
	}
	switch {
	case err == nil:
		o.running = &result.Running{Release: k.Release, BuildID: k.BuildID, From: result.FromMemory}
	case !errors.Is(err, guestmem.ErrNoKernel):
		o.notes = append(o.notes, "which kernel ran is not known: "+console.SanitizeMax(err.Error(), 200))
	}
}

// identifyTime bounds the search of the guest's memory: a GiB takes half a second.
const identifyTime = 10 * time.Second

// diagnose explains a boot that did not end well.
func (o *outcome) diagnose() {
	d := o.boot.Diagnose(o.outcome)
	o.diagnosis, o.diagnosed = &d, time.Now()
}

// fill fills in the Result.
func (o *outcome) fill(res *result.Result, req Request, g boot.Guest) {
	b := o.boot
	res.Outcome, res.Why, res.Confidence = o.outcome, o.why, b.Confidence
	res.Stage, res.Reports, res.Events, res.Stalls = b.Stage, b.Reports, b.Events, b.Stalls
	res.Resets, res.Modules, res.Diagnosis, res.Probes = b.Resets, o.modules, o.diagnosis, o.probed.Probes
	res.Initcalls = b.Initcalls()
	res.Host.QueryKVM = &b.KVM
	res.Times = result.Times{
		Started: b.Start.UTC(), FirstReport: b.FirstReport, Verdict: b.At.Sub(b.Start), Guest: b.GuestTime,
		IdleGap: b.IdleGap, BusyGap: b.BusyGap, Wall: time.Since(b.Start),
	}
	if b.Outcome == scenarios.Hung {
		res.Times.Stalled = b.Since.Sub(b.Start)
	}
	if o.diagnosis != nil {
		res.Times.Diagnosed = o.diagnosed.Sub(b.Start)
	}
	res.Kernel.Running = o.running
	want := req.Machine.Scenario
	o.findings(res, req)
	res.Expected = res.Outcome == want.ExpectedOutcome() &&
		(res.Outcome != scenarios.Booted || result.Tolerated(res.Findings, want.Expect.Findings)) &&
		(want.Expect.Cause == "" || res.Diagnosis != nil && string(res.Diagnosis.Cause) == want.Expect.Cause)
	o.known(res, req)
	res.Notes = append(res.Notes, b.Notes...)
	res.Notes = append(res.Notes, o.notes...)
	res.Notes = append(res.Notes, o.probed.Notes...)
	o.consoleFacts(res, g)
	o.learn(res, req)
}

// findings fills in the kernel's reports, with what is known and what is new among them.
func (o *outcome) findings(res *result.Result, req Request) {
	list, notes := o.knows(req).Mark(o.boot.Findings(), time.Now())
	res.Notes = append(res.Notes, notes...)
	if a := req.Against; a != nil {
		var fresh int
		list, fresh = a.Mark(list)
		res.Notes = append(res.Notes, fmt.Sprintf("compared with %s: %d of %d findings are new", a.From, fresh, len(list)))
	}
	res.Findings = list
	res.Unclean = res.Outcome == scenarios.Booted && !result.Clean(list)
}

// knows are the entries of the list of what is known that are for this kernel.
func (o *outcome) knows(req Request) known.List {
	release := req.Kernel.Release
	if release == "" && o.running != nil {
		release = o.running.Release
	}
	return req.Known.For(string(req.Machine.Scenario.Arch), release)
}

// known says whether the boot's failure is known. A finding that is neither known nor the
// failure itself, and that would fail the boot, keeps it a failure.
func (o *outcome) known(res *result.Result, req Request) {
	if res.Expected || res.Diagnosis == nil {
		return
	}
	k := o.knows(req).Failure(*res.Diagnosis, time.Now())
	others := slices.DeleteFunc(slices.Clone(res.Findings), func(f result.Finding) bool { return f.Title == res.Diagnosis.Title })
	if k != nil && !result.Tolerated(others, res.Scenario.Expect.Findings) {
		res.Notes = append(res.Notes, fmt.Sprintf("the failure is known (%s), and the run fails all the same: %s", k.Reason, result.Worst(others).Title))
		k = nil
	}
	res.KnownFailure = k
}

func (o *outcome) consoleFacts(res *result.Result, g boot.Guest) {
	note := func(format string, args ...any) {
		res.Notes = append(res.Notes, console.SanitizeMax(fmt.Sprintf(format, args...), 400))
	}
	path := filepath.Join(res.Dir, rundir.Console)
	st := g.Console().Stats()
	if before := o.probed.Console; before != nil {
		if err := cut(path, before.Bytes); err != nil {
			note("%s ends with what was printed during the probes: %v", rundir.Console, err)
		}
		st.Bytes, st.Lines = before.Bytes, before.Lines
	}
	res.Console = result.Console{Bytes: st.Bytes, Lines: st.Lines}
	if err := g.Console().Err(); err != nil {
		res.Console.Error = err.Error()
		note("%v: %s has a hole, the diagnosis has not", err, rundir.Console)
	}
	if info, err := os.Stat(path); err == nil {
		res.Console.LeftOut = max(0, st.Bytes-info.Size())
	}
	if err := g.QMP().TranscriptErr(); err != nil {
		note("the QMP transcript is incomplete: %v", err)
	}
	if st.Stalls > 0 {
		note("the console log's disk was too slow %d times: the guest may have been made to wait", st.Stalls)
	}
}

// cut takes what was printed during the probes out of console.log, which is the hang's;
// probe.log has it.
func cut(path string, size int64) error {
	if info, err := os.Stat(path); err != nil || info.Size() <= size {
		return nil
	}
	return os.Truncate(path, size)
}

// learn remembers a good boot for the limits of later ones. One that was
// suspected and went on teaches most: how long the silence of good work is. What
// a command line asks for beside the ordinary may take any time, and teaches
// nothing.
func (o *outcome) learn(res *result.Result, req Request) {
	if req.Calibration == nil || res.Outcome != scenarios.Booted || len(req.Machine.Scenario.Cmdline) > 0 {
		return
	}
	m := req.Machine
	err := req.Calibration.Learn(
		calibrate.Class{Arch: string(m.Scenario.Arch), Accel: string(m.Accel), QEMU: req.QEMUVersion},
		calibrate.Boot{
			Kind: cmp.Or(req.Kind, string(m.Scenario.Initramfs)), Unit: res.Times.FirstReport,
			IdleGap: res.Times.IdleGap, BusyGap: res.Times.BusyGap,
		})
	if err != nil {
		res.Notes = append(res.Notes, err.Error())
	}
}

// writeFiles writes the Result and what is drawn from it; its error is that of the
// Result. What else cannot be written is a note in it.
func writeFiles(res *result.Result) error {
	if err := writeReports(res); err != nil {
		res.Notes = append(res.Notes, oneNote(err))
	}
	res.Files = rundir.Present(res.Dir)
	res.Files["result"] = rundir.Result
	if err := res.Write(rundir.Result); err != nil {
		delete(res.Files, "result")
		return err
	}
	return nil
}

// writeReports writes what the agent said.
func writeReports(res *result.Result) error {
	if len(res.Reports) == 0 {
		return nil
	}
	var b bytes.Buffer
	for _, r := range res.Reports {
		line, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("write %s: %w", rundir.Agent, err)
		}
		b.Write(append(line, '\n'))
	}
	if err := os.WriteFile(filepath.Join(res.Dir, rundir.Agent), b.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write %s: %w", rundir.Agent, err)
	}
	return nil
}

// oneNote is an error as a note of a Result.
func oneNote(err error) string { return console.SanitizeMax(err.Error(), 400) }
