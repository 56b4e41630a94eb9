package stats

import (
	"math"
	"testing"
)

func near(t *testing.T, what string, got, want, by float64) {
	t.Helper()
	if math.Abs(got-want) > by {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// From R: prop.test(k, n, correct = FALSE)$conf.int, binom's binom.wilson.
func TestWilson(t *testing.T) {
	for _, c := range []struct {
		k, n      int
		low, high float64
	}{{0, 0, 0, 1}, {0, 10, 0, 0.2775}, {1, 1, 0.2065, 1}, {5, 10, 0.2366, 0.7634}, {10, 10, 0.7225, 1}, {3, 20, 0.0524, 0.3604}} {
		low, high := Wilson(c.k, c.n, 0.95)
		near(t, "low", low, c.low, 1e-3)
		near(t, "high", high, c.high, 1e-3)
	}
}

// Fisher's tea: 4 of 4 against 0 of 4 is 1/70. By hand: all of k2 hits fall to the second.
func TestFisher(t *testing.T) {
	near(t, "tea", Fisher(0, 4, 4, 4), 1.0/70, 1e-9)
	near(t, "tea with an error", Fisher(1, 4, 3, 4), 17.0/70, 1e-9)
	near(t, "3 of 3", Fisher(0, 3, 3, 3), 0.05, 1e-9)
	near(t, "1 of 1 against 0 of 19", Fisher(0, 19, 1, 1), 0.05, 1e-9)
	near(t, "nothing", Fisher(0, 0, 1, 1), 1, 1e-9)
	near(t, "no hits", Fisher(0, 5, 0, 5), 1, 1e-9)
}

func TestMore(t *testing.T) {
	for _, c := range []struct{ k1, n1, k2, n2, want int }{{0, 3, 3, 3, 0}, {0, 1, 1, 1, 2}, {0, 0, 1, 1, 3}, {0, 10, 1, 10, 40}, {1, 2, 1, 2, -1}} {
		if got := More(c.k1, c.n1, c.k2, c.n2, 0.05); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
}

// By hand: of the C(10,5) = 252 orders, one has U = 0, one 1, two 2, three 3.
func TestShift(t *testing.T) {
	a, b := []float64{1, 2, 3, 4, 5}, []float64{11, 12, 13, 14, 15}
	s := ShiftOf(a, b, 0.99)
	near(t, "p", s.P, 2.0/252, 1e-9)
	near(t, "estimate", s.Estimate, 10, 1e-9)
	near(t, "the other way", ShiftOf(b, a, 0.99).P, 2.0/252, 1e-9)
	near(t, "U = 3", ShiftOf(a, []float64{4.5, 3.5, 6, 7, 8}, 0.99).P, 2*7.0/252, 1e-9)
	near(t, "the same", ShiftOf(a, a, 0.99).P, 1, 1e-9)
	near(t, "all alike", ShiftOf([]float64{1, 1}, []float64{1, 1, 1}, 0.99).P, 1, 1e-9)
	near(t, "one each", ShiftOf([]float64{1}, []float64{2}, 0.99).P, 1, 1e-9)
	// By hand: U = 1600 - 435, its mean 800, its variance 1600 * 81 / 12, z = 364.5 / 103.92.
	var x, y []float64
	for i := range 40 {
		x, y = append(x, float64(i)), append(y, float64(i)+10.5)
	}
	long := ShiftOf(x, y, 0.99)
	near(t, "long", long.P, 4.52e-4, 1e-6)
	if !(long.Low < 10.5 && 10.5 < long.High && long.Low > 0) {
		t.Errorf("%+v", long)
	}
}

// The exact and the approximate p-value agree where both can be had.
func TestExactAgainstNormal(t *testing.T) {
	var a, b []float64
	for i := range 20 {
		a, b = append(a, float64(i*7%20)), append(b, float64(i*3%20)+4.25)
	}
	u := 0.0
	for _, x := range a {
		for _, y := range b {
			if y > x {
				u++
			}
		}
	}
	near(t, "p", exactP(20, 20, int(u)), normalP(a, b, u), 2e-3)
}
