package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"

	"github.com/unwedge/unwedge/harness/internal/bisect/search"
)

// bench is the set of histories that every line of every table is played on.
type bench struct {
	histories int
	seed      uint64
	jobs      int
	worlds    []*world
}

// random returns the numbers for one use: the history itself is use 0, so that every line sees the same histories and culprits.
func (b *bench) random(use, i int) *rand.Rand {
	return rand.New(rand.NewPCG(b.seed<<20+uint64(use), uint64(i)))
}

// each plays f for every history.
func (b *bench) each(f func(i int, w *world) error) error {
	if b.worlds == nil {
		for i := range b.histories {
			b.worlds = append(b.worlds, newWorld(b.random(0, i), 2000))
		}
	}
	errs := make([]error, b.jobs)
	var wg sync.WaitGroup
	for j := range b.jobs {
		wg.Go(func() {
			for i := j; i < b.histories && errs[j] == nil; i += b.jobs {
				errs[j] = f(i, b.worlds[i])
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// bayes plays the search on every history, prepared by set.
func (b *bench) bayes(use int, o search.Options, set func(r *rand.Rand, w *world)) (summary, error) {
	out := make([]outcome, b.histories)
	err := b.each(func(i int, w *world) error {
		w.rate, w.wrong, w.broken = 1, 0, nil
		set(b.random(use, i), w)
		var err error
		out[i], err = w.bayes(b.random(use+1, i), o)
		return err
	})
	return summarise(out), err
}

// plain plays bisection with fixed repeats on every history.
func (b *bench) plain(use, repeats int, set func(r *rand.Rand, w *world)) (summary, error) {
	out := make([]outcome, b.histories)
	err := b.each(func(i int, w *world) error {
		w.rate, w.wrong, w.broken = 1, 0, nil
		set(b.random(use, i), w)
		out[i] = w.plain(b.random(use+2, i), repeats)
		return nil
	})
	return summarise(out), err
}

// summary is what the trials of one line come to.
type summary struct {
	trials              int
	right               float64
	stated, doubted     float64
	mean                float64 // boots
	median, ninety, max int     // boots
	candidates, skips   float64
	suspects            float64
}

func summarise(out []outcome) summary {
	s := summary{trials: len(out)}
	var boots []int
	n, right := float64(len(out)), 0
	for _, o := range out {
		if o.right {
			right++
		}
		s.stated += o.stated / n
		s.doubted += o.doubted / n
		s.mean += float64(o.boots) / n
		s.candidates += float64(o.candidates) / n
		s.skips += float64(o.skips) / n
		s.suspects += float64(o.suspects) / n
		boots = append(boots, o.boots)
	}
	s.right = float64(right) / n
	slices.Sort(boots)
	s.median, s.ninety, s.max = boots[len(boots)/2], boots[len(boots)*9/10], boots[len(boots)-1]
	return s
}

// error95 is the half width of the 95 % interval of a share.
func (s summary) error95() float64 {
	return 1.96 * math.Sqrt(max(0, s.right*(1-s.right))/float64(s.trials))
}

func percent(x float64) string {
	if x > 0.9995 && x < 1 {
		return "> 99.9 %"
	}
	return fmt.Sprintf("%.1f %%", 100*x)
}

// boots is how a number of boots is shown: median, and the 90th percentile.
func (s summary) boots() string { return fmt.Sprintf("%d, %d", s.median, s.ninety) }

func row(cells ...any) {
	text := make([]string, len(cells))
	for i, c := range cells {
		text[i] = fmt.Sprint(c)
	}
	fmt.Println("| " + strings.Join(text, " | ") + " |")
}

func head(cells ...any) {
	row(cells...)
	fmt.Println("|" + strings.Repeat("---|", len(cells)))
}
