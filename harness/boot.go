package harness

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/unwedge/unwedge/harness/internal/calibrate"
	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/watch"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
	"github.com/unwedge/unwedge/scenarios"
)

// Boot boots one kernel and returns what it showed; the Result is also written
// to the run's directory, with the other artifacts. An error means that nothing
// is known about the kernel: it wraps ErrQEMU, or is the context's cause when
// the context ended. Nothing is left running, but for a hung guest with
// Request.Keep.
func Boot(ctx context.Context, req Request) (*result.Result, error) {
	if req.Observer == nil {
		req.Observer = silent{}
	}
	if err := req.Machine.Scenario.Validate(); err != nil {
		return nil, failed(ctx, err)
	}
	if req.Keep && len(req.Probes) > 0 {
		return nil, failed(ctx, errors.New("a guest that was experimented on cannot be kept as it hung"))
	}
	res := newResult(req)
	if err := writeCommand(req); err != nil {
		return nil, failed(ctx, err)
	}
	req.Observer.Phase(Starting, "")
	g, err := start(ctx, req)
	if err != nil {
		return nil, failed(ctx, err)
	}
	res.Host.Args = g.args
	s := &session{req: req, g: g, res: res}
	v, err := s.run(ctx)
	if err != nil {
		err = errors.Join(err, g.stop(context.WithoutCancel(ctx)))
		return nil, failed(ctx, err)
	}
	if err := s.finish(ctx, v); err != nil {
		// Without a Result nobody could find a guest that was kept.
		err = errors.Join(err, g.stop(context.WithoutCancel(ctx)))
		return nil, failed(ctx, err)
	}
	return res, nil
}

// failed tells an interruption from a failure of the harness.
func failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("%w: %w", ErrQEMU, err)
}

func newResult(req Request) *result.Result {
	limits := watch.Scale(req.Reference)
	if req.Limits != nil {
		limits = *req.Limits
	}
	if d := req.Machine.Scenario.Deadline; d > 0 {
		limits.Deadline = d
	}
	return &result.Result{
		Schema: result.Schema, Version: req.Version,
		Scenario: req.Machine.Scenario, Kernel: req.Kernel,
		Host: result.Host{
			QEMU: req.Machine.QEMU, QEMUVersion: req.QEMUVersion,
			Accel: req.Machine.Accel, AccelWhy: req.AccelWhy,
			Args: req.Machine.Args(), Cmdline: req.Machine.Cmdline(),
			Limits: limits, Reference: req.Reference, Calibrated: req.Calibrated,
		},
		Times: result.Times{Started: time.Now().UTC()},
		Dir:   req.Dir, Notes: req.Notes,
	}
}

// writeCommand leaves a script that boots the same guest by hand.
func writeCommand(req Request) error {
	script := "#!/bin/sh\n# Boots the same guest; its console is on this terminal, Ctrl-A x ends it.\nexec " + req.Machine.CommandLine() + "\n"
	if err := os.WriteFile(filepath.Join(req.Dir, rundir.Command), []byte(script), 0o755); err != nil {
		return fmt.Errorf("write %s: %w", rundir.Command, err)
	}
	return nil
}

// finish makes the Result of a verdict: state checks, the end of the guest, the
// diagnosis, calibration, files.
func (s *session) finish(ctx context.Context, v verdict) error {
	res := s.res
	s.settle(v)
	keep := s.req.Keep && res.Outcome == scenarios.Hung
	if err := s.letGo(ctx, keep); err != nil {
		return err
	}
	s.consoleFacts()
	if err := s.explain(); err != nil {
		return err
	}
	want := s.req.Machine.Scenario
	res.Expected = res.Outcome == want.ExpectedOutcome() &&
		(want.Expect.Cause == "" || res.Diagnosis != nil && string(res.Diagnosis.Cause) == want.Expect.Cause)
	s.learn()
	res.Times.Wall = time.Since(s.start)
	if err := s.writeFiles(); err != nil {
		return err
	}
	s.req.Observer.Phase(Finished, res.Why)
	return nil
}

// settle writes down how the boot ended.
func (s *session) settle(v verdict) {
	res := s.res
	res.Outcome, res.Why, res.Confidence = v.outcome, v.why, v.confidence
	res.Times.Verdict = v.at.Sub(s.start)
	if v.outcome == scenarios.Hung {
		res.Times.Stalled = v.since.Sub(s.start)
	}
	res.Times.IdleGap, res.Times.BusyGap = s.watch.Gaps()
	res.Resets = s.watch.Resets()
	res.Modules = triedModules(s.req.Modules, res.Reports)
	if v.outcome == scenarios.Booted {
		if why := cmp.Or(wrongState(res), wrongModule(res.Modules)); why != "" {
			res.Outcome, res.Why = scenarios.WrongState, why
		} else if last := res.Reports[len(res.Reports)-1]; last.BuildID == "" && res.Kernel.BuildID != "" {
			s.note("the guest told no build ID: that the candidate runs is known by its release only")
		}
	}
}

// explain diagnoses a boot that did not end well, once.
func (s *session) explain() error {
	if s.res.Outcome == scenarios.Booted || s.res.Diagnosis != nil {
		return nil
	}
	if err := s.diagnose(); err != nil {
		return err
	}
	s.res.Times.Diagnosed = time.Since(s.start)
	return nil
}

// letGo ends QEMU, or leaves it paused and says how to get at it.
func (s *session) letGo(ctx context.Context, keep bool) error {
	if !keep {
		return s.g.stop(context.WithoutCancel(ctx))
	}
	if err := s.g.qmp.Execute(ctx, "stop", nil, nil); err != nil {
		return errors.Join(fmt.Errorf("pause the guest to keep it: %w", err), s.g.stop(context.WithoutCancel(ctx)))
	}
	s.res.Kept = &result.Kept{
		PID:     s.g.proc.Pid(),
		Console: s.g.uart.Path(), QMP: s.g.sockets[socketQMP].Path(), GDB: s.g.sockets[socketGDB].Path(),
	}
	var errs []error
	s.g.disconnect(&errs)
	return errors.Join(errs...)
}

func (s *session) consoleFacts() {
	st := s.g.console.Stats()
	if s.unprobed != nil {
		s.cutConsole()
		st.Bytes, st.Lines = s.unprobed.Bytes, s.unprobed.Lines
	}
	s.res.Console = result.Console{Bytes: st.Bytes, Lines: st.Lines}
	if err := s.g.console.Err(); err != nil {
		s.res.Console.Error = err.Error()
	}
	if info, err := os.Stat(filepath.Join(s.req.Dir, rundir.Console)); err == nil {
		s.res.Console.LeftOut = max(0, st.Bytes-info.Size())
	}
	if err := s.g.qmp.TranscriptErr(); err != nil {
		s.note("the QMP transcript is not whole: %v", err)
	}
	if st.Stalls > 0 {
		s.note("the console log's disk was too slow %d times: the guest may have been made to wait", st.Stalls)
	}
}

// cutConsole takes what was printed during the probes out of console.log, which
// is the hang's; probe.log has it.
func (s *session) cutConsole() {
	path := filepath.Join(s.req.Dir, rundir.Console)
	if info, err := os.Stat(path); err != nil || info.Size() <= s.unprobed.Bytes {
		return
	}
	if err := os.Truncate(path, s.unprobed.Bytes); err != nil {
		s.note("%s ends with what was printed during the probes: %v", rundir.Console, err)
	}
}

// learn remembers a good boot for the limits of later ones. One that was
// suspected and went on teaches most: how long the silence of good work is. What
// a command line asks for beside the ordinary may take any time, and teaches
// nothing.
func (s *session) learn() {
	if s.req.Calibration == nil || s.res.Outcome != scenarios.Booted || len(s.req.Machine.Scenario.Cmdline) > 0 {
		return
	}
	m := s.req.Machine
	err := s.req.Calibration.Learn(
		calibrate.Class{Arch: string(m.Scenario.Arch), Accel: string(m.Accel), QEMU: s.req.QEMUVersion},
		calibrate.Boot{
			Kind: string(m.Scenario.Initramfs), Unit: s.res.Times.FirstReport,
			IdleGap: s.res.Times.IdleGap, BusyGap: s.res.Times.BusyGap,
		})
	if err != nil {
		s.note("%v", err)
	}
}

// wrongState says what of a booted guest is not as the scenario asked, "" if all
// is.
func wrongState(res *result.Result) string {
	if len(res.Reports) == 0 {
		return ""
	}
	last := res.Reports[len(res.Reports)-1]
	k, sc := res.Kernel, res.Scenario
	switch {
	case k.BuildID != "" && last.BuildID != "" && last.BuildID != k.BuildID:
		return fmt.Sprintf("another kernel is running: build ID %s, the candidate's is %s", console.SanitizeMax(last.BuildID, 64), k.BuildID)
	case k.Release != "" && last.Release != "" && last.Release != k.Release:
		return fmt.Sprintf("another kernel is running: release %s, the candidate's is %s", console.SanitizeMax(last.Release, 64), k.Release)
	case sc.Initramfs.FIPS() && (last.FIPS == nil || *last.FIPS != 1):
		return "FIPS mode was asked for and is not on: /proc/sys/crypto/fips_enabled is not 1"
	case !sc.Entropy.Device() && !sc.Entropy.Seeded() && last.HWRNG != "none" && last.HWRNG != "":
		return fmt.Sprintf("no entropy source was given, yet the guest uses the hwrng %s", console.SanitizeMax(last.HWRNG, 64))
	default:
		return ""
	}
}
