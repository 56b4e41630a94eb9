package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/unwedge/unwedge/harness"
	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/plan"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
	"github.com/unwedge/unwedge/images/agentproto"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/images/mutate"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// bench collects the samples.
type bench struct {
	options
	dir     string // temporary
	count   int    // of runs, for their directories
	dump    []byte // a task dump of a real hang
	samples []*Sample
}

func (b *bench) sample(unit, format string, args ...any) *Sample {
	s := &Sample{What: fmt.Sprintf(format, args...), Unit: unit}
	b.samples = append(b.samples, s)
	return s
}

// plan prepares a boot of the default kernel in a scenario without an entropy
// source, as the command line does.
func (b *bench) plan(ctx context.Context, scenario string, a arch.Arch) (harness.Request, string, error) {
	p, err := plan.New("bench")
	if err != nil {
		return harness.Request{}, "", err
	}
	c, err := p.Candidate(ctx, plan.DefaultKernel(a), a)
	if err != nil {
		return harness.Request{}, "", err
	}
	t, err := scenarios.Builtin().Find(scenario)
	if err != nil {
		return harness.Request{}, "", err
	}
	t.Arch, t.Entropy = []arch.Arch{a}, []scenarios.Entropy{scenarios.None}
	req, err := p.Request(ctx, t.Cells()[0], c)
	if err != nil {
		return harness.Request{}, "", err
	}
	mutant, err := b.mutant(ctx, c, "try_to_generate_entropy", mutate.Return)
	return req, mutant, err
}

// mutant breaks a function of a kernel.
func (b *bench) mutant(ctx context.Context, c *candidate.Candidate, function string, f mutate.Fault) (string, error) {
	path := filepath.Join(b.dir, fmt.Sprintf("mutant-%s-%s-%s", c.Kernel.Arch, function, f))
	_, err := mutate.WriteFile(ctx, c.Kernel, path, function, f)
	return path, err
}

// overhead compares `unwedge boot`, from its start to its end, with QEMU alone,
// from its start to the agent's line on the console, in turns.
func (b *bench) overhead(ctx context.Context) error {
	for _, a := range arch.All() {
		req, _, err := b.plan(ctx, "tiny", a)
		if err != nil {
			return err
		}
		ours := b.sample("s", "%s: unwedge boot, start to end", a)
		verdict := b.sample("s", "%s: unwedge boot, guest's start to the verdict", a)
		bare := b.sample("s", "%s: the same QEMU alone, start to the agent's line", a)
		ratio := b.sample("×", "%s: unwedge boot / QEMU alone, in pairs", a)
		ratio.Note = "goal: 1.02"
		args := []string{"boot", "--arch", string(a), "--entropy", "none"}
		if _, _, err := b.unwedgeJSON(ctx, args...); err != nil { // fills the cache
			return err
		}
		for i := range b.runs {
			var res *result.Result
			var took, alone time.Duration
			us := func() (err error) { res, took, err = b.unwedgeJSON(ctx, args...); return err }
			them := func() (err error) { alone, err = bareQEMU(ctx, req); return err }
			turns := []func() error{us, them}
			if i%2 == 1 { // what comes second may find the host in another state
				slices.Reverse(turns)
			}
			for _, turn := range turns {
				if err := turn(); err != nil {
					return err
				}
			}
			if res.Outcome != scenarios.Booted {
				return fmt.Errorf("%s: the measured boot ended as %s: %s", a, res.Outcome, res.Why)
			}
			ours.add(took.Seconds())
			verdict.add(res.Times.Verdict.Seconds())
			bare.add(alone.Seconds())
			ratio.add(took.Seconds() / alone.Seconds())
		}
	}
	return nil
}

// unwedgeJSON runs the program and returns its Result and wall time. A kernel
// that fails its scenario (exit code 1) is no error.
func (b *bench) unwedgeJSON(ctx context.Context, args ...string) (*result.Result, time.Duration, error) {
	b.count++
	args = append(args, "--json", "--quiet", "--out", filepath.Join(b.dir, fmt.Sprint("run", b.count)))
	cmd := exec.CommandContext(ctx, b.unwedge, args...)
	var out, msg bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &msg
	start := time.Now()
	err := cmd.Run()
	took := time.Since(start)
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		return nil, 0, fmt.Errorf("unwedge %s: %w: %s", strings.Join(args, " "), err, msg.String())
	}
	var res result.Result
	if err := json.Unmarshal(out.Bytes(), &res); err != nil {
		return nil, 0, fmt.Errorf("unwedge %s: %w", strings.Join(args, " "), err)
	}
	return &res, took, nil
}

// bareQEMU boots the same machine without a harness, its console on a pipe.
func bareQEMU(ctx context.Context, req harness.Request) (took time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, req.Machine.QEMU, req.Machine.Args()...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer func() {
		cancel()
		_ = cmd.Wait() // it was killed
	}()
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if r, err := agentproto.Parse(lines.Bytes()); err == nil && r.Stage == req.Machine.Scenario.BootedStage() {
			return time.Since(start), nil
		}
	}
	return 0, fmt.Errorf("%s ended before the guest was up: %w", req.Machine.QEMU, errors.Join(lines.Err(), ctx.Err()))
}

// explained measures a real hang: a kernel that is never seeded.
func (b *bench) explained(ctx context.Context) error {
	for _, a := range arch.All() {
		_, mutant, err := b.plan(ctx, "random", a)
		if err != nil {
			return err
		}
		noticed := b.sample("s", "%s: entropy hang, stall to noticed", a)
		all := b.sample("s", "%s: entropy hang, stall to the finished diagnosis", a)
		for range b.runs {
			res, _, err := b.unwedgeJSON(ctx, "boot", "-s", "random", "--entropy", "none", mutant)
			if err != nil {
				return err
			}
			if res.Diagnosis == nil || res.Diagnosis.Function != "wait_for_random_bytes" {
				return fmt.Errorf("%s: the measured hang was not explained: %s, %s", a, res.Outcome, res.Why)
			}
			noticed.add((res.Stalls[len(res.Stalls)-1].Noticed - res.Times.Stalled).Seconds())
			all.add((res.Times.Diagnosed - res.Times.Stalled).Seconds())
			if b.dump, err = os.ReadFile(filepath.Join(res.Dir, rundir.Dump('t'))); err != nil {
				return err
			}
		}
	}
	return nil
}

// proven measures hangs that the guest's memory or its registers prove.
func (b *bench) proven(ctx context.Context) error {
	p, err := plan.New("bench")
	if err != nil {
		return err
	}
	for _, a := range arch.All() {
		c, err := p.Candidate(ctx, plan.DefaultKernel(a), a)
		if err != nil {
			return err
		}
		for _, h := range []struct {
			name  string
			fault mutate.Fault
			goal  string
		}{
			{"an initcall sleeps", mutate.Sleep, "2"},
			{"an initcall spins", mutate.Spin, "3"},
			{"an initcall spins, interrupts off", mutate.SpinIRQsOff, "3"},
		} {
			mutant, err := b.mutant(ctx, c, "misc_register", h.fault)
			if err != nil {
				return err
			}
			if err := b.provenHang(ctx, mutant, fmt.Sprintf("%s: %s", a, h.name), h.goal); err != nil {
				return err
			}
		}
	}
	return nil
}

// provenHang measures one of them. Where the harness had to wait for silence after all, it
// was told with the verdict.
func (b *bench) provenHang(ctx context.Context, mutant, name, goal string) error {
	told := b.sample("s", "%s, stall to told", name)
	all := b.sample("s", "%s, stall to the finished diagnosis", name)
	certain := 0
	for range b.runs {
		res, _, err := b.unwedgeJSON(ctx, "boot", "--once", mutant)
		if err != nil {
			return err
		}
		if res.Diagnosis == nil || len(res.Stalls) == 0 {
			return fmt.Errorf("%s: the measured hang was not explained: %s, %s", name, res.Outcome, res.Why)
		}
		last, at := res.Stalls[len(res.Stalls)-1], res.Times.Diagnosed
		if last.Told > 0 {
			certain, at = certain+1, last.Told
		}
		told.add((at - res.Times.Stalled).Seconds())
		all.add((res.Times.Diagnosed - res.Times.Stalled).Seconds())
	}
	told.Note = fmt.Sprintf("goal: %s; %d of %d proven", goal, certain, b.runs)
	return nil
}

// warmStart measures how long the matrix takes until its first guest runs.
func (b *bench) warmStart(ctx context.Context) error {
	s := b.sample("s", "matrix of 8 cells, warm: start to the first guest")
	s.Note = "goal: 2"
	for i := range b.runs + 1 {
		took, err := b.firstGuest(ctx)
		if err != nil {
			return err
		}
		if i > 0 { // the first one may have had images to build
			s.add(took.Seconds())
		}
	}
	return nil
}

func (b *bench) firstGuest(ctx context.Context) (time.Duration, error) {
	cmd := exec.CommandContext(ctx, b.unwedge, "matrix", "-j", "2")
	cmd.Env = os.Environ()
	errs, err := cmd.StderrPipe()
	if err != nil {
		return 0, err
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer func() { _ = cmd.Wait() }() // it was interrupted
	defer func() { _ = cmd.Process.Signal(os.Interrupt) }()
	var said []string
	for lines := bufio.NewScanner(errs); lines.Scan(); {
		if strings.Contains(lines.Text(), ": "+string(harness.Booting)) {
			return time.Since(start), nil
		}
		said = append(said, lines.Text())
	}
	return 0, fmt.Errorf("unwedge matrix booted nothing: %s", strings.Join(said, "; "))
}

// parser measures the task-dump parser on a real dump, repeated to 8 MiB.
func (b *bench) parser(ctx context.Context) error {
	const size = 8 << 20
	if len(b.dump) == 0 { // --only parser
		one := &bench{options: options{runs: 1, unwedge: b.unwedge}, dir: b.dir}
		if err := one.explained(ctx); err != nil {
			return err
		}
		b.dump = one.dump
	}
	text := bytes.Repeat(b.dump, size/len(b.dump)+1)
	s := b.sample("MB/s", "parser on a task dump of %.1f MB", float64(len(text))/1e6)
	for range b.runs {
		start := time.Now()
		d := dump.Parse(text)
		took := time.Since(start)
		tasks := 0
		for _, sec := range d.Sections {
			tasks += len(sec.Tasks)
		}
		if tasks == 0 {
			return errors.New("the measured task dump has no tasks")
		}
		s.Note = fmt.Sprintf("%d tasks", tasks)
		s.add(float64(len(text)) / 1e6 / took.Seconds())
	}
	return nil
}
