package main

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/unwedge/unwedge/harness/internal/bisect/search"
)

// The stated confidence is honest: if everything is as the prior assumes it, each answer is right with the probability stated
// for it. So of N trials with stated confidences c_i, the number that is right has mean Σ c_i and variance Σ c_i(1−c_i),
// whatever rule stopped the searches. Five standard deviations either way have probability 6e-7 under honesty, and a stated
// confidence that is some 10 points off does not pass.
func TestStatedConfidenceIsHonest(t *testing.T) {
	for name, o := range map[string]search.Options{
		"intermittent":               {Intermittent: true, Confidence: 0.7, WrongRate: 1e-9},
		"intermittent, wrong":        {Intermittent: true, Confidence: 0.7, WrongRate: 0.02},
		"intermittent, not told":     {Intermittent: true, Confidence: 0.7},
		"intermittent, switch costs": {Intermittent: true, Confidence: 0.8, WrongRate: 0.005, SwitchCost: 3},
		"half steady":                {Steady: 0.5, Confidence: 0.7, WrongRate: 0.005},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const trials = 150
			var right int
			var sum, variance float64
			for i := range trials {
				r := rand.New(rand.NewPCG(77, uint64(i)))
				w := small(r)
				w.rate, w.wrong = drawRate(r, o), drawWrong(r, o)
				if i%2 == 0 {
					w.breakSome(r)
				}
				out, err := w.bayes(r, o)
				if err != nil {
					t.Fatal(err)
				}
				if out.stated < o.Confidence {
					t.Fatalf("trial %d: done with confidence %v, asked for %v", i, out.stated, o.Confidence)
				}
				if out.right {
					right++
				}
				sum += out.stated
				variance += out.stated * (1 - out.stated)
			}
			if off := math.Abs(float64(right)-sum) / math.Sqrt(variance); off > 5 {
				t.Errorf("%d of %d right, stated %.1f: %.1f standard deviations off", right, trials, sum, off)
			}
		})
	}
}

// At the default confidence of 99 %, an answer is wrong with probability 0.01 at most: 11 or more of 200 have probability 2e-5.
func TestWrongAnswersAreRare(t *testing.T) {
	t.Parallel()
	const trials, limit = 200, 11
	if tail := binomialTail(trials, limit, 0.01); tail > 2e-5 {
		t.Fatalf("%d of %d has probability %v", limit, trials, tail)
	}
	o := search.Options{Intermittent: true, WrongRate: 0.001}
	wrong := 0
	for i := range trials {
		r := rand.New(rand.NewPCG(78, uint64(i)))
		w := small(r)
		w.rate, w.wrong = drawRate(r, o), o.WrongRate
		out, err := w.bayes(r, o)
		if err != nil {
			t.Fatal(err)
		}
		if !out.right {
			wrong++
		}
	}
	if wrong >= limit {
		t.Errorf("%d of %d answers wrong", wrong, trials)
	}
}

// small is a world of some hundred commits.
func small(r *rand.Rand) *world { return newWorld(r, 130) }

// binomialTail is the probability of k or more of n at probability p each.
func binomialTail(n, k int, p float64) float64 {
	var sum float64
	for i := k; i <= n; i++ {
		a, _ := math.Lgamma(float64(n + 1))
		b, _ := math.Lgamma(float64(i + 1))
		c, _ := math.Lgamma(float64(n - i + 1))
		sum += math.Exp(a - b - c + float64(i)*math.Log(p) + float64(n-i)*math.Log1p(-p))
	}
	return sum
}

// Plain bisection, which the search is compared with, finds a steady hang, and misses a rare one.
func TestPlainBisection(t *testing.T) {
	right := 0
	for i := range 50 {
		w := small(rand.New(rand.NewPCG(79, uint64(i))))
		if out := w.plain(rand.New(rand.NewPCG(80, uint64(i))), 1); !out.right || out.boots > 8 || out.boots != out.candidates {
			t.Errorf("history %d: %+v", i, out)
		}
		w.rate = 0.1
		if w.plain(rand.New(rand.NewPCG(81, uint64(i))), 3).right {
			right++
		}
	}
	if right > 25 {
		t.Errorf("a hang in one boot of ten is found %d of 50 times with three boots per commit", right)
	}
}
