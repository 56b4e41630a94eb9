package matrix_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/unwedge/unwedge/harness/matrix"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// points makes the 8 cells, failed where fails says so.
func points(t *testing.T, outcome scenarios.Outcome, fails func(scenarios.Scenario) bool) []matrix.Point {
	t.Helper()
	distro, err := scenarios.Builtin().Find("distro")
	if err != nil {
		t.Fatal(err)
	}
	var out []matrix.Point
	for _, c := range distro.Cells() {
		p := matrix.Point{Scenario: c, Kernel: "6.1.0-" + string(c.Arch), Outcome: scenarios.Booted, Expected: true}
		if fails(c) {
			p.Outcome, p.Expected = outcome, false
		}
		out = append(out, p)
	}
	return out
}

func TestDifference(t *testing.T) {
	none := func(s scenarios.Scenario) bool { return s.Entropy == scenarios.None }
	fips := func(s scenarios.Scenario) bool { return s.Initramfs.FIPS() }
	arm := func(s scenarios.Scenario) bool { return s.Arch == "aarch64" }
	type fails = func(scenarios.Scenario) bool
	for _, tc := range []struct {
		name    string
		outcome scenarios.Outcome
		fails   fails
		want    string
	}{
		{"nothing", scenarios.Hung, func(scenarios.Scenario) bool { return false }, ""},
		{"the story", scenarios.Hung, func(s scenarios.Scenario) bool { return none(s) && fips(s) }, "hangs only without virtio-rng and with fips=1"},
		{"one axis", scenarios.Panicked, none, "panics only without virtio-rng"},
		{"arch", scenarios.Rebooting, arm, "reboots only on aarch64"},
		{"three axes", scenarios.Hung, func(s scenarios.Scenario) bool { return none(s) && fips(s) && arm(s) },
			"hangs only on aarch64 without virtio-rng and with fips=1"},
		{"all but", scenarios.Hung, func(s scenarios.Scenario) bool { return !(none(s) && fips(s)) },
			"hangs everywhere except without virtio-rng and with fips=1"},
		{"all", scenarios.Hung, func(scenarios.Scenario) bool { return true }, "hangs in all 8 cells"},
		{"no rule", scenarios.Hung, func(s scenarios.Scenario) bool { return none(s) != fips(s) },
			"hangs in 4 of 8 cells, with no single set of conditions that tells them from the others"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := matrix.Difference(points(t, tc.outcome, tc.fails)); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestDifferenceOfKernels(t *testing.T) {
	s := scenarios.Scenario{Name: "tiny/x86_64/none/tiny"}
	got := matrix.Difference([]matrix.Point{
		{Scenario: s, Kernel: "6.1.0", Outcome: scenarios.Booted, Expected: true},
		{Scenario: s, Kernel: "7.3.0-rc1", Outcome: scenarios.Hung},
	})
	if want := "hangs only with kernel 7.3.0-rc1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// What is told has to tell the failed cells from all others, also where the cells
// are no full grid.
func TestDifferenceClaimsNoMoreThanIsKnown(t *testing.T) {
	point := func(arch arch.Arch, e scenarios.Entropy, i scenarios.Initramfs, o scenarios.Outcome) matrix.Point {
		return matrix.Point{
			Scenario: scenarios.Scenario{Name: "s", Arch: arch, Entropy: e, Initramfs: i}, Kernel: "6.1-" + string(arch), Accel: result.TCG,
			Outcome: o, Expected: o == scenarios.Booted,
		}
	}
	const good, hung, none = scenarios.Booted, scenarios.Hung, scenarios.Outcome("")
	x86, arm, dry, rng := arch.X86_64, arch.AArch64, scenarios.None, scenarios.VirtioRNG
	for _, tc := range []struct {
		name   string
		points []matrix.Point
		want   string
	}{
		{"dracut alone", []matrix.Point{
			point(x86, dry, scenarios.Tiny, good), point(x86, dry, scenarios.Dracut, hung), point(x86, dry, scenarios.DracutFIPS, good),
		}, "hangs only without fips=1 and with initramfs dracut"},
		{"fips alone", []matrix.Point{
			point(x86, dry, scenarios.Tiny, good), point(x86, dry, scenarios.Dracut, good), point(x86, dry, scenarios.DracutFIPS, hung),
		}, "hangs only with fips=1"},
		{"dracut or fips", []matrix.Point{point(x86, dry, scenarios.Tiny, good), point(x86, dry, scenarios.DracutFIPS, hung)},
			"hangs only with fips=1, or only with initramfs dracut: these cells cannot tell which"},
		{"two differences", []matrix.Point{point(x86, dry, scenarios.Tiny, hung), point(arm, rng, scenarios.Tiny, good)},
			"hangs only on x86_64, or only without virtio-rng: these cells cannot tell which"},
		{"a corner is missing", []matrix.Point{
			point(x86, dry, scenarios.Tiny, hung), point(x86, rng, scenarios.Tiny, good), point(arm, rng, scenarios.Tiny, good),
		}, "hangs only without virtio-rng (seen only on x86_64)"},
		{"a cell has no result", []matrix.Point{
			point(x86, dry, scenarios.Tiny, hung), point(x86, rng, scenarios.Tiny, good), point(arm, rng, scenarios.Tiny, good), point(arm, dry, scenarios.Tiny, none),
		}, "hangs only without virtio-rng (seen only on x86_64); cells without a result: 1 of 4"},
		{"no good cell", []matrix.Point{
			point(x86, dry, scenarios.Tiny, hung), point(x86, rng, scenarios.Tiny, hung), point(arm, rng, scenarios.Tiny, none),
		}, "hangs in all 2 cells with a result (of 3)"},
		{"one result", []matrix.Point{point(x86, dry, scenarios.Tiny, hung), point(x86, rng, scenarios.Tiny, none)}, ""},
		{"the host's entropy", []matrix.Point{
			point(x86, dry, scenarios.Tiny, hung), point(x86, rng, scenarios.Tiny, good), point(x86, scenarios.Host, scenarios.Tiny, good),
		}, "hangs only with entropy none"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := matrix.Difference(tc.points); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// meets reads a condition as a person does.
func meets(t *testing.T, words string, p matrix.Point) bool {
	t.Helper()
	name, _, _ := strings.Cut(p.Scenario.Name, "/")
	kind, fips := strings.CutSuffix(string(p.Scenario.Initramfs), "-fips")
	facts := []string{
		"on " + string(p.Scenario.Arch), "with entropy " + string(p.Scenario.Entropy), "with initramfs " + kind, "with kernel " + p.Kernel,
		"under " + string(p.Accel), "in scenario " + name,
		map[bool]string{true: "with fips=1", false: "without fips=1"}[fips],
		map[bool]string{true: "with virtio-rng", false: "without virtio-rng"}[p.Scenario.Entropy == scenarios.VirtioRNG],
	}
	words = strings.NewReplacer("x86_64 with", "x86_64 and with", "aarch64 with", "aarch64 and with", "x86_64 under", "x86_64 and under", "aarch64 under", "aarch64 and under",
		"x86_64 in", "x86_64 and in", "aarch64 in", "aarch64 and in").Replace(words)
	for w := range strings.SplitSeq(words, " and ") {
		if !slices.Contains(facts, w) {
			return false
		}
	}
	return true
}

// Whatever is told separates all failed cells from all good ones, whatever cells
// there are and however they end.
func TestDifferenceSeparatesExactly(t *testing.T) {
	told := 0
	for seed := range uint64(4000) {
		r := rand.New(rand.NewPCG(seed, 12))
		points := make([]matrix.Point, 2+r.IntN(7))
		rule := r.IntN(6)
		for i := range points {
			p := &points[i]
			p.Scenario = scenarios.Scenario{
				Name: pick(r, "a/x", "b/x"), Arch: pick(r, arch.X86_64, arch.AArch64),
				Entropy:   pick(r, scenarios.None, scenarios.VirtioRNG, scenarios.Host),
				Initramfs: pick(r, scenarios.Tiny, scenarios.Dracut, scenarios.DracutFIPS, scenarios.NoInitrd),
			}
			p.Kernel, p.Accel = pick(r, "6.1", "7.3")+"-"+string(p.Scenario.Arch), pick(r, result.KVM, result.TCG)
			p.Outcome = pick(r, scenarios.Booted, scenarios.Hung, scenarios.Panicked, "")
			if p.Outcome != "" { // most by a rule, so that there is something to tell
				p.Outcome = scenarios.Booted
				if [...]bool{
					p.Scenario.Initramfs == scenarios.Dracut, p.Scenario.Initramfs.FIPS(), p.Scenario.Entropy == scenarios.None,
					p.Scenario.Arch == arch.AArch64 && p.Accel == result.TCG, p.Scenario.Entropy != scenarios.None || p.Scenario.Initramfs != scenarios.Tiny,
					r.IntN(2) == 0,
				}[rule] {
					p.Outcome = scenarios.Hung
				}
			}
			p.Expected = p.Outcome == scenarios.Booted
		}
		said, _, _ := strings.Cut(matrix.Difference(points), " (")
		said, _, _ = strings.Cut(said, ":")
		said, _, _ = strings.Cut(said, ";")
		sets, only := strings.CutPrefix(said, "hangs only ")
		sets, except := strings.CutPrefix(sets, "hangs everywhere except ")
		if !only && !except {
			continue
		}
		told++
		for set := range strings.SplitSeq(strings.ReplaceAll(sets, ", or except ", ", or only "), ", or only ") {
			for _, p := range points {
				if p.Outcome != "" && meets(t, set, p) == (p.Expected == only) {
					t.Fatalf("seed %d: %q (%q) does not hold for %+v\n%+v", seed, said, set, p, points)
				}
			}
		}
	}
	if told < 1000 {
		t.Errorf("only %d differences were told", told)
	}
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

func TestRunKeepsOrderAndLimit(t *testing.T) {
	var now, most atomic.Int32
	boot := func(_ context.Context, c matrix.Cell[string]) (*result.Result, error) {
		if n := now.Add(1); n > most.Load() {
			most.Store(n)
		}
		defer now.Add(-1)
		return &result.Result{Why: c.Job}, nil
	}
	told := 0
	out := matrix.Run(t.Context(), []string{"a", "b", "c", "d", "e"}, 2, boot, func(matrix.Done[string]) { told++ })
	if told != 5 || most.Load() > 2 {
		t.Errorf("told of %d cells, %d at once", told, most.Load())
	}
	for i, want := range []string{"a", "b", "c", "d", "e"} {
		if out[i].Result.Why != want || out[i].Index != i {
			t.Errorf("cell %d is %+v, want %s", i, out[i], want)
		}
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("interrupted")
	out := matrix.Run(ctx, []int{0, 1, 2}, 1, func(ctx context.Context, c matrix.Cell[int]) (*result.Result, error) {
		if c.Index == 1 {
			cancel(stop)
			return nil, context.Cause(ctx)
		}
		return &result.Result{}, nil
	}, func(matrix.Done[int]) {})
	if out[0].Err != nil || !errors.Is(out[1].Err, stop) || !errors.Is(out[2].Err, stop) {
		t.Errorf("errors %v, %v, %v", out[0].Err, out[1].Err, out[2].Err)
	}
}

// Axes that a scenario gives several values count; those that come with it do not.
func TestDifferenceOverOtherAxes(t *testing.T) {
	c, err := scenarios.Read(strings.NewReader("scenarios: [{name: m, arch: x86_64, machine: [q35, pc], cpus: [1, 2], cmdline: [[], [nokaslr]]}, {name: other, arch: x86_64, memory_mib: 300}]"))
	if err != nil {
		t.Fatal(err)
	}
	difference := func(cells []scenarios.Scenario, fails func(scenarios.Scenario) bool) string {
		var out []matrix.Point
		for _, s := range cells {
			p := matrix.Point{Scenario: s, Outcome: scenarios.Booted, Expected: true}
			if fails(s) {
				p.Outcome, p.Expected = scenarios.Hung, false
			}
			out = append(out, p)
		}
		return matrix.Difference(out)
	}
	for want, fails := range map[string]func(scenarios.Scenario) bool{
		"hangs only on machine pc":                 func(s scenarios.Scenario) bool { return s.Machine == "pc" },
		"hangs only on machine pc and with cpus 2": func(s scenarios.Scenario) bool { return s.Machine == "pc" && s.CPUs == 2 },
		`hangs only with cmdline "nokaslr"`:        func(s scenarios.Scenario) bool { return len(s.Cmdline) > 0 },
	} {
		if got := difference(c[0].Cells(), fails); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	got := difference(append(c[0].Cells(), c[1].Cells()...), func(s scenarios.Scenario) bool { return s.MemoryMiB == 300 })
	if !strings.HasPrefix(got, "hangs only in scenario other (") || strings.Contains(got, "300 MiB") {
		t.Errorf("%q: the memory comes with the scenario", got)
	}
}
