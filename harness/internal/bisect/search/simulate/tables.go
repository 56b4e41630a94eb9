package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/unwedge/unwedge/harness/internal/bisect/search"
	"github.com/unwedge/unwedge/harness/internal/bisect/search/searchtest"
)

var (
	fixedRates   = []float64{0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1}
	fixedRepeats = []int{1, 3, 5, 10}
	mode         = map[string]search.Options{"intermittent": {Intermittent: true}, "doubting": {Steady: 0.9}, "default": {}}
)

func (b *bench) intro() error {
	fmt.Printf(`%d random histories of 64 to 2000 commits (sizes spread evenly over their logarithm; three quarters with merges in
the manner of the kernel's, one quarter linear), seed %d, each with one culprit drawn from all its commits. Every line of every
table is played on these same histories. Confidence asked for: 99 %%. "Boots" are the median and the 90th percentile.

- *intermittent* is Options.Intermittent: every rate from 0.05 to 1 is equally likely.
- *default* takes the hang as steady until a verdict contradicts that.
- *doubting* is Options.Steady = 0.9: one hang in ten is taken not to show in every boot.
- *right*: the culprit is the answer, or among the suspects that no testable commit tells apart.
- *plain N*: git bisect, each commit booted up to N times, bad at the first bad boot.

`, b.histories, b.seed)
	return nil
}

// steady: hangs that show every time, against git bisect.
func (b *bench) steady() error {
	fmt.Print("## Steady hangs against git bisect\n\n")
	s, err := b.bayes(10, search.Options{}, func(*rand.Rand, *world) {})
	if err != nil {
		return err
	}
	git := make([][]int, b.histories)
	more, worse := 0, 0
	out := make([]outcome, b.histories)
	if err := b.each(func(i int, w *world) error {
		git[i] = searchtest.Git(w.in)
		out[i] = outcome{right: true, boots: git[i][w.culprit], candidates: git[i][w.culprit]}
		return nil
	}); err != nil {
		return err
	}
	for i, w := range b.worlds {
		ours, err := w.bayes(b.random(11, i), search.Options{})
		if err != nil {
			return err
		}
		if ours.boots > out[i].boots {
			more++
		}
		if ours.boots > slices.Max(git[i]) {
			worse++
		}
	}
	g := summarise(out)
	head("", "right", "stated", "boots: mean", "median, p90", "most")
	row("search, default", percent(s.right), percent(s.stated), fmt.Sprintf("%.2f", s.mean), s.boots(), s.max)
	row("git bisect", percent(g.right), "", fmt.Sprintf("%.2f", g.mean), g.boots(), g.max)
	for _, name := range []string{"doubting", "intermittent"} {
		s, err := b.bayes(10, mode[name], func(*rand.Rand, *world) {})
		if err != nil {
			return err
		}
		row("search, "+name, percent(s.right), percent(s.stated), fmt.Sprintf("%.2f", s.mean), s.boots(), s.max)
	}
	fmt.Printf("\nOf the %d histories, those where the default search took more boots than git bisect for the same culprit: %d; more than git bisect's worst case for the history: %d.\n\n", b.histories, more, worse)
	return nil
}

// skips: ranges that cannot be judged.
func (b *bench) skips() error {
	fmt.Print("## Ranges of commits that cannot be judged\n\nOne to three ranges, each up to a fifth of the history. *Tries* are the commits that turned out not to be testable.\n\n")
	head("mode", "rate", "right", "stated", "boots", "tries: mean", "suspects: mean")
	for i, line := range []struct {
		mode string
		rate float64
	}{{"default", 1}, {"intermittent", 1}, {"intermittent", 0.3}} {
		s, err := b.bayes(100+10*i, mode[line.mode], func(r *rand.Rand, w *world) {
			w.rate = line.rate
			w.breakSome(r)
		})
		if err != nil {
			return err
		}
		row(line.mode, line.rate, percent(s.right), percent(s.stated), s.boots(), fmt.Sprintf("%.1f", s.skips), fmt.Sprintf("%.1f", s.suspects))
	}
	fmt.Println()
	return nil
}

// drawRate draws a hang's rate from the prior of the options.
func drawRate(r *rand.Rand, o search.Options) float64 {
	if !o.Intermittent && r.Float64() < o.Steady {
		return 1
	}
	if o.Intermittent {
		return float64(1+r.IntN(20)) / 20
	}
	return float64(1+r.IntN(19)) / 20
}

// drawWrong draws a rate of wrong verdicts from the prior of the options.
func drawWrong(r *rand.Rand, o search.Options) float64 {
	if o.WrongRate != 0 || !o.Intermittent {
		return o.WrongRate
	}
	switch x := r.Float64(); {
	case x < 0.08:
		return 0.02
	case x < 0.2:
		return 0.005
	default:
		return 0.001
	}
}

// learnt stands for a rate of wrong verdicts that the search is not told.
const learnt = -1

// calibration: everything as the prior assumes it.
func (b *bench) calibration() error {
	fmt.Print("## Is the stated confidence honest?\n\nRates drawn from the mode's own prior, wrong verdicts at the rate the search was told (*learnt*: drawn from its prior), half of the histories with broken ranges. Then *right* must agree with *stated*, whatever confidence is asked for.\n\n")
	head("mode", "asked for", "wrong verdicts", "right", "stated", "boots")
	use := 200
	for _, name := range []string{"intermittent", "doubting"} {
		for _, line := range []struct{ asked, wrong float64 }{{0.7, 0}, {0.9, 0.02}, {0.99, 0}, {0.99, 0.005}, {0.99, 0.02}, {0.7, learnt}, {0.9, learnt}, {0.99, learnt}} {
			if line.wrong == learnt && !mode[name].Intermittent {
				continue
			}
			use += 10
			o, how := mode[name], "learnt"
			o.Confidence = line.asked
			if line.wrong != learnt {
				o.WrongRate, how = max(line.wrong, 1e-9), percent(line.wrong)
			}
			s, err := b.bayes(use, o, func(r *rand.Rand, w *world) {
				w.rate, w.wrong = drawRate(r, o), drawWrong(r, o)
				if r.IntN(2) == 0 {
					w.breakSome(r)
				}
			})
			if err != nil {
				return err
			}
			row(name, percent(line.asked), how, fmt.Sprintf("%s ± %.1f", percent(s.right), 100*s.error95()), percent(s.stated), s.boots())
		}
	}
	fmt.Println()
	return nil
}

// byRate: what each fixed rate gives, which no prior promises.
func (b *bench) byRate() error {
	fmt.Print("## By rate of the hang\n\nThe stated confidence is an average over the prior; this is what one gets at each rate. Cells: right (stated): boots. *Doubted* is what the default mode says of its answer under the doubting prior.\n\n")
	head("rate", "intermittent", "doubting", "default", "doubted")
	aims := make([]float64, len(fixedRates))
	for i, rate := range fixedRates {
		line := []any{rate}
		for _, name := range []string{"intermittent", "doubting", "default"} {
			s, err := b.bayes(1000+10*i, mode[name], func(_ *rand.Rand, w *world) { w.rate = rate })
			if err != nil {
				return err
			}
			line = append(line, s.cell())
			if name == "default" {
				line = append(line, percent(s.doubted))
			}
			if name == "intermittent" {
				aims[i] = s.right
			}
		}
		row(line...)
	}
	fmt.Print("\nPlain bisection. *Same share* is the least number of repeats, within 6 %, that is right as often as the search in intermittent mode: found with hindsight, nobody knows it beforehand.\n\n")
	head(append([]any{"rate"}, plainHead()...)...)
	for i, rate := range fixedRates {
		cells, err := b.plainCells(1000+10*i, aims[i], func(_ *rand.Rand, w *world) { w.rate = rate })
		if err != nil {
			return err
		}
		row(append([]any{rate}, cells...)...)
	}
	fmt.Println()
	return nil
}

func plainHead() []any {
	var cells []any
	for _, n := range fixedRepeats {
		cells = append(cells, fmt.Sprintf("plain %d", n))
	}
	return append(cells, "same share")
}

// cell is what a search comes to: share right, stated confidence, boots.
func (s summary) cell() string {
	return fmt.Sprintf("%s (%s): %s", percent(s.right), percent(s.stated), s.boots())
}

// plainCells is what plain bisection gives with the fixed numbers of repeats, and with the least that is right as often as aim.
func (b *bench) plainCells(use int, aim float64, set func(*rand.Rand, *world)) ([]any, error) {
	var cells []any
	for _, n := range fixedRepeats {
		p, err := b.plain(use, n, set)
		if err != nil {
			return nil, err
		}
		cells = append(cells, fmt.Sprintf("%s: %s", percent(p.right), p.boots()))
	}
	n, p, err := b.sameShare(use, aim, set)
	switch {
	case err != nil:
		return nil, err
	case n == 0:
		return append(cells, fmt.Sprintf("never, at best %s", percent(p.right))), nil
	}
	return append(cells, fmt.Sprintf("plain %d: %s", n, p.boots())), nil
}

// sameShare finds the least number of repeats whose share right is aim or more, within 6 %; 0 and the best found for none
// up to 150.
func (b *bench) sameShare(use int, aim float64, set func(*rand.Rand, *world)) (int, summary, error) {
	var best summary
	for n := 1; n <= 150; n = max(n+1, int(math.Round(float64(n)*1.06))) {
		p, err := b.plain(use, n, set)
		if err != nil {
			return 0, p, err
		}
		if p.right >= aim {
			return n, p, nil
		}
		if p.right > best.right {
			best = p
		}
	}
	return 0, best, nil
}

// wrongVerdicts: boots without the culprit that look bad.
func (b *bench) wrongVerdicts() error {
	fmt.Print("## Wrong verdicts\n\nBoots without the culprit are judged bad at the given rate, in intermittent mode. *Told* searches know that rate, the others learn it. Cells: right (stated): boots.\n\n")
	head(append([]any{"wrong", "rate", "told", "not told"}, plainHead()...)...)
	use := 2000
	for _, wrong := range []float64{0.005, 0.02} {
		for _, rate := range []float64{0.1, 0.3, 0.5, 1} {
			use += 10
			set := func(_ *rand.Rand, w *world) { w.rate, w.wrong = rate, wrong }
			line := []any{percent(wrong), rate}
			var aim float64
			for _, told := range []float64{wrong, 0} {
				s, err := b.bayes(use, search.Options{Intermittent: true, WrongRate: told}, set)
				if err != nil {
					return err
				}
				line = append(line, s.cell())
				aim = max(aim, s.right)
			}
			cells, err := b.plainCells(use, aim, set)
			if err != nil {
				return err
			}
			row(append(line, cells...)...)
		}
	}
	fmt.Println()
	return nil
}

// costs: candidates that are dear to make ready.
func (b *bench) costs() error {
	fmt.Print("## When building costs\n\nIntermittent mode, rate 0.3. The cost of making a candidate ready is in boots; the total counts both.\n\n")
	head("cost of a candidate", "right", "boots: mean", "candidates: mean", "total")
	for _, cost := range []float64{0, 1, 3, 10} {
		s, err := b.bayes(3000, search.Options{Intermittent: true, SwitchCost: cost}, func(_ *rand.Rand, w *world) { w.rate = 0.3 })
		if err != nil {
			return err
		}
		row(cost, percent(s.right), fmt.Sprintf("%.1f", s.mean), fmt.Sprintf("%.1f", s.candidates), fmt.Sprintf("%.1f", s.mean+cost*s.candidates))
	}
	return nil
}
