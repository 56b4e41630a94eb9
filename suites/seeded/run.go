package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/unwedge/unwedge/harness"
	"github.com/unwedge/unwedge/harness/matrix"
	"github.com/unwedge/unwedge/harness/plan"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
	"github.com/unwedge/unwedge/images/cache"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/images/kernel/kallsyms"
	"github.com/unwedge/unwedge/images/mutate"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// suite is one run of the score.
type suite struct {
	options
	plan *plan.Planner
	log  io.Writer

	mu   sync.Mutex // guards card and what is written from it
	card Card
}

// seed is one boot that is made to fail.
type seed struct {
	truth Truth
	// request plans the boot; the mutant, if there is one, is at file.
	request func(ctx context.Context, file string) (harness.Request, error)
	// mutant writes the kernel; nil where user space is at fault.
	mutant func(file string) error
}

func run(ctx context.Context, o options, stdout, stderr io.Writer) error {
	store, err := cache.Default()
	if err != nil {
		return err
	}
	state, err := rundir.Base()
	if err != nil {
		return err
	}
	s := &suite{options: o, plan: &plan.Planner{Store: store, State: state, Version: "score"}, log: stderr}
	if err := s.load(); err != nil {
		return err
	}
	fmt.Fprintf(stderr, "seed %d, in %s\n", o.seed, o.out)
	s.card.Version, s.card.Host = version(), fmt.Sprintf("%s, %d CPUs", runtime.GOARCH, runtime.NumCPU())
	for _, a := range o.arches {
		if err := s.arch(ctx, a); err != nil {
			return err
		}
	}
	if o.json {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(&s.card)
	}
	s.card.markdown(stdout, o.command())
	return nil
}

// version is the commit that this program was built from, where the build knows
// it, with a plus sign where files were changed.
func version() string {
	v, changed := "of an unknown commit", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision" && len(s.Value) >= 12:
				v = s.Value[:12]
			case s.Key == "vcs.modified" && s.Value == "true":
				changed = "+"
			}
		}
	}
	return v + changed
}

// arch makes the score of one architecture.
func (s *suite) arch(ctx context.Context, a arch.Arch) error {
	arg := s.kernel
	if arg == "" {
		arg = plan.DefaultKernel(a)
	}
	c, err := s.plan.Candidate(ctx, arg, a)
	if err != nil {
		return err
	}
	s.update(func(card *Card) { card.addKernel(c) })
	b := &bench{suite: s, arch: a, stock: c}
	seeds, err := b.seeds(ctx)
	if err != nil {
		return err
	}
	matrix.Run(ctx, seeds, s.jobs, b.try, func(matrix.Done[seed]) {})
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	return s.healthyBoots(ctx, a, c)
}

// bench is what the mutants of one architecture are made from.
type bench struct {
	*suite
	arch    arch.Arch
	stock   *candidate.Candidate
	payload []byte
	table   *kallsyms.Table
}

func (b *bench) open(ctx context.Context) (err error) {
	if b.payload, err = b.stock.Kernel.Payload(ctx); err != nil {
		return err
	}
	b.table, err = kallsyms.Parse(b.payload, b.arch)
	return err
}

// cell is the scenario that the faults are seeded in.
func (b *bench) cell(name string, e scenarios.Entropy, words ...string) (scenarios.Scenario, error) {
	t, err := scenarios.Builtin().Find(name)
	if err != nil {
		return scenarios.Scenario{}, err
	}
	t.Arch, t.Entropy = []arch.Arch{b.arch}, []scenarios.Entropy{e}
	sc := t.Cells()[0]
	sc.Cmdline = append(sc.Cmdline[:len(sc.Cmdline):len(sc.Cmdline)], words...)
	return sc, nil
}

// seeds draws the mutants and adds the faults of user space.
func (b *bench) seeds(ctx context.Context) ([]seed, error) {
	if err := b.open(ctx); err != nil {
		return nil, err
	}
	var out []seed
	if b.user {
		for _, u := range userFaults {
			out = append(out, b.userSeed(u))
		}
		out = append(out, b.entropySeed())
	}
	if b.n == 0 {
		return out, nil
	}
	trace, err := b.trace(ctx)
	if err != nil {
		return nil, err
	}
	list := phases(trace)
	for _, p := range list {
		fmt.Fprintf(b.log, "%s: %5d functions first entered in: %s\n", b.arch, len(p.Functions), p.Name)
	}
	mutants, refused, err := draw(list, b.n, b.seed, func(fn string, f mutate.Fault) error {
		_, _, err := mutate.Patch(b.payload, b.arch, b.table, fn, f)
		return err
	})
	if err != nil {
		return nil, err
	}
	b.update(func(c *Card) {
		c.Refused[string(b.arch)], c.Seeds[string(b.arch)], c.Entered[string(b.arch)] = refused, b.suite.seed, len(trace)
	})
	for _, m := range mutants {
		out = append(out, b.mutantSeed(m))
	}
	return out, nil
}

// trace finds which functions a healthy boot enters, once for each kernel,
// scenario and QEMU.
func (b *bench) trace(ctx context.Context) ([]Entered, error) {
	sc, err := b.cell("tiny", scenarios.VirtioRNG)
	if err != nil {
		return nil, err
	}
	req, err := b.plan.Request(ctx, sc, b.stock)
	if err != nil {
		return nil, err
	}
	key := cache.Key{Kind: "trace", Inputs: []string{"1", b.stock.Kernel.SHA256, req.Machine.Initrd, req.Machine.Cmdline(), req.QEMUVersion}}
	const name = "entered.json"
	dir, err := b.plan.Store.Get(ctx, key, func(ctx context.Context, dir string) error {
		fmt.Fprintf(b.log, "%s: tracing a healthy boot\n", b.arch)
		list, err := traceBoot(ctx, req, b.table)
		if err != nil {
			return err
		}
		text, err := json.Marshal(list)
		if err != nil {
			return fmt.Errorf("keep trace: %w", err)
		}
		return os.WriteFile(filepath.Join(dir, name), text, 0o644)
	})
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return nil, fmt.Errorf("read trace: %w", err)
	}
	var list []Entered
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("read trace: %w", err)
	}
	return list, nil
}

func (b *bench) mutantSeed(m Mutant) seed {
	return seed{
		truth: truthOf(m, string(b.arch)),
		request: func(ctx context.Context, file string) (harness.Request, error) {
			return b.planned(ctx, "tiny", scenarios.VirtioRNG, file)
		},
		mutant: func(file string) error { return b.write(m.Function, m.Fault, file) },
	}
}

func (b *bench) entropySeed() seed {
	return seed{
		truth: entropyTruth(b.arch),
		request: func(ctx context.Context, file string) (harness.Request, error) {
			return b.planned(ctx, "random", scenarios.None, file)
		},
		mutant: func(file string) error { return b.write("try_to_generate_entropy", "return", file) },
	}
}

func (b *bench) userSeed(u userFault) seed {
	return seed{truth: u.truth(b.arch), request: func(ctx context.Context, _ string) (harness.Request, error) {
		sc, err := b.cell("tiny", scenarios.VirtioRNG, u.words...)
		if err != nil {
			return harness.Request{}, err
		}
		if u.change != nil {
			u.change(&sc)
		}
		return b.plan.Request(ctx, sc, b.stock)
	}}
}

// planned plans a boot of the stock kernel and puts a mutant in its place.
func (b *bench) planned(ctx context.Context, name string, e scenarios.Entropy, file string) (harness.Request, error) {
	sc, err := b.cell(name, e)
	if err != nil {
		return harness.Request{}, err
	}
	req, err := b.plan.Request(ctx, sc, b.stock)
	req.Machine.Kernel, req.Kernel.Booted, req.Kernel.BootedAs = file, file, "with a seeded fault"
	return req, err
}

func (b *bench) write(function, fault, file string) error {
	f, err := mutate.ParseFault(fault)
	if err != nil {
		return err
	}
	patched, _, err := mutate.Patch(b.payload, b.arch, b.table, function, f)
	if err != nil {
		return err
	}
	if err := os.WriteFile(file, patched, 0o644); err != nil {
		return fmt.Errorf("write mutant: %w", err)
	}
	return nil
}

// try boots one seed and scores the answer. What the harness cannot do is a
// score too, so that no seed is lost.
func (b *bench) try(ctx context.Context, cell matrix.Cell[seed]) (*result.Result, error) {
	sd := cell.Job
	if b.known(sd.truth.ID) {
		return nil, nil
	}
	res, sc, err := b.boot(ctx, sd)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		sc = Score{Truth: sd.truth, Verdict: Failed, Note: err.Error()}
	}
	b.update(func(c *Card) { c.Scores = append(c.Scores, sc) })
	fmt.Fprintf(b.log, "%-9s %s: %s, %s/%s %q, named in %s, after %s\n", sc.Verdict, sd.truth.ID, sc.Outcome, sc.Kind, sc.Cause, sc.Title, sc.Placed, seconds(sc.Latency))
	return res, err
}

func (b *bench) boot(ctx context.Context, sd seed) (*result.Result, Score, error) {
	dir := filepath.Join(b.out, "runs", clean(sd.truth.ID))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, Score{}, fmt.Errorf("make run directory: %w", err)
	}
	file := filepath.Join(dir, "kernel")
	if sd.mutant != nil {
		defer os.Remove(file) // large, and made again from its name
		if err := sd.mutant(file); err != nil {
			return nil, Score{}, err
		}
	}
	req, err := sd.request(ctx, file)
	if err != nil {
		return nil, Score{}, err
	}
	req.Dir = dir
	req.Calibration = nil // nothing is to be learnt from what is broken
	res, err := harness.Boot(ctx, req)
	if err != nil {
		return nil, Score{}, err
	}
	log, err := os.ReadFile(filepath.Join(dir, rundir.Console))
	if err != nil {
		return nil, Score{}, fmt.Errorf("read console: %w", err)
	}
	sc := score(sd.truth, res, log)
	sc.Dir, _ = filepath.Rel(b.out, dir)
	if sc.Verdict == Right {
		sc.Dir = ""
		_ = os.RemoveAll(dir) // nothing to look up
	}
	return res, sc, nil
}

// clean makes a seed's ID fit for a file name.
func clean(id string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '.', r == '-':
			return r
		default:
			return '-'
		}
	}, id)
}
