package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/harness"
	"github.com/unwedge/unwedge/harness/matrix"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
	"github.com/unwedge/unwedge/images/cache"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/images/kernel/kallsyms"
	"github.com/unwedge/unwedge/images/kernel/kerneltest"
	"github.com/unwedge/unwedge/images/mutate"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// seed is one boot that is made to fail.
type seed struct {
	truth Truth
	// request plans the boot; the mutant, if there is one, is at file, and other
	// images of the run go beside it.
	request func(ctx context.Context, file string) (harness.Request, error)
	// mutant writes the kernel; nil where user space is at fault.
	mutant func(file string) error
}

// spot is one place in the score: seeds that are booted in turn until the boot
// of one does not come through.
type spot []seed

// bench is what the mutants of one architecture are made from.
type bench struct {
	*suite
	arch    arch.Arch
	stock   *candidate.Candidate
	payload []byte
	table   *kallsyms.Table
	// untyped are the kernel with its types wiped, by where they are found then.
	untyped map[Types]*candidate.Candidate
}

func (b *bench) open(ctx context.Context) (err error) {
	if b.payload, err = b.stock.Kernel.Payload(ctx); err != nil {
		return err
	}
	if b.table, err = kallsyms.Parse(b.payload, b.arch); err != nil {
		return err
	}
	b.untyped, err = b.withoutTypes(ctx)
	return err
}

// cell is the scenario that the faults are seeded in.
func (b *bench) cell(name string, e scenarios.Entropy, words ...string) (scenarios.Scenario, error) {
	return cell(b.arch, name, e, words...)
}

// cell is the first cell of a template with an arch and an entropy source.
func cell(a arch.Arch, name string, e scenarios.Entropy, words ...string) (scenarios.Scenario, error) {
	t, err := scenarios.Builtin().Find(name)
	if err != nil {
		return scenarios.Scenario{}, err
	}
	t.Arch, t.Entropy = []arch.Arch{a}, []scenarios.Entropy{e}
	sc := t.Cells()[0]
	sc.Cmdline = slices.Concat(sc.Cmdline, words)
	return sc, nil
}

// places are all places of an architecture's score: the faults that are not
// drawn, and then the mutants.
func (b *bench) places(ctx context.Context) ([]spot, error) {
	if err := b.open(ctx); err != nil {
		return nil, err
	}
	if b.short {
		return b.shortPlaces()
	}
	var out []spot
	fixed, err := b.fixed(ctx)
	if err != nil {
		return nil, err
	}
	for _, sd := range fixed {
		out = append(out, spot{sd})
	}
	if b.n == 0 {
		return out, nil
	}
	list, of, err := b.phases(ctx)
	if err != nil {
		return nil, err
	}
	slots, refused := draw(list, b.n, b.seed, b.arch, func(fn string, f mutate.Fault) error {
		_, _, err := mutate.Patch(b.payload, b.arch, b.table, fn, f)
		return err
	})
	if len(slots) < b.n {
		return nil, fmt.Errorf("draw mutants for %s: only %d slots have functions", b.arch, len(slots))
	}
	b.update(func(c *Card) {
		c.Refused[string(b.arch)], c.Seeds[string(b.arch)], c.Entered[string(b.arch)] = refused, b.seed, entered(list)
	})
	for _, s := range slots {
		var p spot
		for _, m := range s {
			_, m.Initcall = of[m.Function]
			p = append(p, b.mutantSeed(m))
		}
		out = append(out, p)
	}
	return out, nil
}

// fixed are the faults that are not drawn.
func (b *bench) fixed(ctx context.Context) ([]seed, error) {
	var out []seed
	if b.user {
		for _, u := range userFaults {
			out = append(out, b.userSeed(u, typesOf(len(out))))
		}
		out = append(out, b.entropySeed())
		for _, f := range moduleFaults {
			out = append(out, b.moduleSeed(f, typesOf(len(out))))
		}
	}
	return out, ctx.Err()
}

// phases traces the boots and cuts them. of are the initcalls.
func (b *bench) phases(ctx context.Context) (list []Phase, of map[string]string, err error) {
	of, exact := initcalls(b.table)
	if !exact {
		fmt.Fprintf(b.log, "%s: kallsyms has no initcall levels; well-known functions mark where each level begins\n", b.arch)
	}
	var cut [2][]Phase
	for i, name := range []string{"tiny", "distro"} {
		trace, err := b.trace(ctx, name)
		if err != nil {
			return nil, nil, err
		}
		cut[i] = phases(trace, of)
	}
	list = join(cut[0], cut[1])
	for _, p := range list {
		fmt.Fprintf(b.log, "%s: %5d functions first entered in: %s\n", b.arch, len(p.Functions), p.Name)
	}
	return list, of, nil
}

func entered(list []Phase) (n int) {
	for _, p := range list {
		n += len(p.Functions)
	}
	return n
}

// trace finds which functions a healthy boot enters, once for each kernel,
// scenario and QEMU. The initramfs is unpacked with nothing else at work
// meanwhile (initramfs_async=0, 5.13 and later), so that it can be told apart.
func (b *bench) trace(ctx context.Context, scenario string) ([]Entered, error) {
	sc, err := b.cell(scenario, scenarios.VirtioRNG, "initramfs_async=0")
	if err != nil {
		return nil, err
	}
	req, err := b.plan.Request(ctx, sc, b.stock)
	if err != nil {
		return nil, err
	}
	key := cache.Key{Kind: "trace", Inputs: []string{"2", b.stock.Kernel.SHA256, req.Machine.Initrd, req.Machine.Cmdline(), req.QEMUVersion}}
	const name = "entered.json"
	dir, err := b.plan.Store.Get(ctx, key, func(ctx context.Context, dir string) error {
		fmt.Fprintf(b.log, "%s: tracing a healthy boot of %s\n", b.arch, sc.Name)
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
	scenario := "tiny"
	if m.Distro {
		scenario = "distro"
	}
	return seed{
		truth: truthOf(m, string(b.arch)),
		request: func(ctx context.Context, file string) (harness.Request, error) {
			return b.planned(ctx, b.kernel(m.Types), scenario, scenarios.VirtioRNG, file, without(m.Without)...)
		},
		mutant: func(file string) error { return b.write(m.Function, m.Fault, m.Types, file) },
	}
}

// without is a list of one, or of none.
func without(f scenarios.Facility) []scenarios.Facility {
	if f == "" {
		return nil
	}
	return []scenarios.Facility{f}
}

func (b *bench) entropySeed() seed {
	return seed{
		truth: entropyTruth(b.arch),
		request: func(ctx context.Context, file string) (harness.Request, error) {
			return b.planned(ctx, b.stock, "random", scenarios.None, file)
		},
		mutant: func(file string) error { return b.write("try_to_generate_entropy", "return", "", file) },
	}
}

func (b *bench) userSeed(u userFault, types Types) seed {
	return seed{truth: u.truth(b.arch).of(types), request: func(ctx context.Context, file string) (harness.Request, error) {
		sc, err := b.cell(u.in(), scenarios.VirtioRNG, u.words...)
		if err != nil {
			return harness.Request{}, err
		}
		if u.change != nil {
			u.change(&sc)
		}
		req, err := b.plan.Request(ctx, sc, b.kernel(types))
		if err != nil || u.initrd == nil {
			return req, err
		}
		return req, changeInitrd(&req, filepath.Join(filepath.Dir(file), initrdName), u.initrd)
	}}
}

// planned plans a boot of a kernel and puts a mutant in its place.
func (b *bench) planned(ctx context.Context, k *candidate.Candidate, name string, e scenarios.Entropy, file string, without ...scenarios.Facility) (harness.Request, error) {
	sc, err := b.cell(name, e)
	if err != nil {
		return harness.Request{}, err
	}
	sc.Without = without
	req, err := b.plan.Request(ctx, sc, k)
	req.Machine.Kernel, req.Kernel.Booted, req.Kernel.BootedAs = file, file, "with a seeded fault"
	return req, err
}

func (b *bench) write(function, fault string, types Types, file string) error {
	f, err := mutate.ParseFault(fault)
	if err != nil {
		return err
	}
	patched, _, err := mutate.Patch(b.payload, b.arch, b.table, function, f)
	if err != nil {
		return err
	}
	if types != "" {
		patched, _ = kerneltest.WithoutBTF(patched)
	}
	if err := os.WriteFile(file, patched, 0o644); err != nil {
		return fmt.Errorf("write mutant: %w", err)
	}
	return nil
}

// fill boots the seeds of a place until one counts. What an earlier run scored
// is not booted again.
func (b *bench) fill(ctx context.Context, cell matrix.Cell[spot]) (*result.Result, error) {
	for _, sd := range cell.Job {
		if b.only != nil && !b.only.MatchString(sd.truth.ID+" "+sd.truth.Phase) {
			continue
		}
		v, known := b.known(sd.truth.ID)
		if !known {
			var err error
			if v, err = b.try(ctx, sd); err != nil {
				return nil, err
			}
		}
		if v != NoEffect {
			break
		}
	}
	return nil, nil
}

// try boots one seed and scores the answer. What the harness cannot do is a
// score too, so that no seed is lost.
func (b *bench) try(ctx context.Context, sd seed) (Verdict, error) {
	sc, err := b.boot(ctx, sd)
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if err != nil {
		sc = Score{Truth: sd.truth, Verdict: Failed, Note: err.Error()}
	}
	b.update(func(c *Card) { c.Scores = append(c.Scores, sc) })
	fmt.Fprintf(b.log, "%-9s %s: %s, %s/%s %q, named in %s, after %s %s\n", sc.Verdict, sd.truth.ID, sc.Outcome, sc.Kind, sc.Cause, sc.Title, sc.Placed, seconds(sc.Latency), sc.Note)
	return sc.Verdict, nil
}

// Large files of a run, made again from the seed's name.
const (
	kernelName = "kernel"
	initrdName = "initrd"
)

func (b *bench) boot(ctx context.Context, sd seed) (Score, error) {
	dir := filepath.Join(b.out, "runs", clean(sd.truth.ID))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Score{}, fmt.Errorf("make run directory: %w", err)
	}
	file := filepath.Join(dir, kernelName)
	defer os.Remove(filepath.Join(dir, initrdName))
	if sd.mutant != nil {
		defer os.Remove(file)
		if err := sd.mutant(file); err != nil {
			return Score{}, err
		}
	}
	req, err := sd.request(ctx, file)
	if err != nil {
		return Score{}, err
	}
	req.Dir = dir
	req.Calibration = nil // nothing is to be learnt from what is broken
	res, err := harness.Boot(ctx, req)
	if err != nil {
		return Score{}, err
	}
	log, err := os.ReadFile(filepath.Join(dir, rundir.Console))
	if err != nil {
		return Score{}, fmt.Errorf("read console: %w", err)
	}
	// What a kernel without a console says is in its memory.
	memory, err := os.ReadFile(filepath.Join(dir, rundir.Memory))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return Score{}, fmt.Errorf("read the tasks found in memory: %w", err)
	}
	sc := score(sd.truth, res, append(log, memory...))
	sc.Dir, _ = filepath.Rel(b.out, dir)
	if sc.Verdict == Right {
		sc.Dir = ""
		_ = os.RemoveAll(dir) // nothing to look up
	}
	return sc, nil
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
