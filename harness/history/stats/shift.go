package stats

import (
	"math"
	"slices"
)

// Shift is how much later the second of two samples is.
type Shift struct {
	// Estimate is that of Hodges and Lehmann, the median of all differences.
	Estimate float64
	// Low and High are its interval.
	Low, High float64
	// P is the two-sided p-value of the Mann-Whitney test.
	P float64
}

// maxExact bounds the sizes of samples whose p-value is computed exactly; above, and with
// ties, it is the normal approximation with its corrections for ties and continuity.
const maxExact = 30

// ShiftOf compares samples that are not empty, with an interval at a confidence such as
// 0.99. It takes time and space proportional to the product of their sizes.
func ShiftOf(a, b []float64, confidence float64) Shift {
	diffs := make([]float64, 0, len(a)*len(b))
	u, ties := 0.0, false // U counts the pairs in which b is later
	for _, x := range a {
		for _, y := range b {
			diffs = append(diffs, y-x)
			switch {
			case y > x:
				u++
			case y == x:
				u += 0.5
				ties = true
			}
		}
	}
	slices.Sort(diffs)
	n, m := float64(len(a)), float64(len(b))
	s := Shift{Estimate: median(diffs)}
	if ties || len(a) > maxExact || len(b) > maxExact {
		s.P = normalP(a, b, u)
	} else {
		s.P = exactP(len(a), len(b), int(u))
	}
	z := normalQuantile(1 - (1-confidence)/2)
	k := max(0, int(math.Floor(n*m/2-z*math.Sqrt(n*m*(n+m+1)/12)))) // Hollander and Wolfe, 4.2
	s.Low, s.High = diffs[k], diffs[len(diffs)-1-k]
	return s
}

// Median is the median of a sample that is not empty.
func Median(list []float64) float64 {
	list = slices.Clone(list)
	slices.Sort(list)
	return median(list)
}

func median(sorted []float64) float64 {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// exactP is the two-sided p-value of U without ties. In how many orders of n and m values U
// is v, is the coefficient of x^v in the Gaussian binomial of n+m over m, the product of
// (1 - x^(n+i)) / (1 - x^i) for i = 1 to m.
func exactP(n, m, u int) float64 {
	u = min(u, n*m-u)
	ways := make([]float64, u+1)
	ways[0] = 1
	for i := 1; i <= m; i++ {
		for v := u; v >= n+i; v-- {
			ways[v] -= ways[v-n-i]
		}
		for v := i; v <= u; v++ {
			ways[v] += ways[v-i]
		}
	}
	sum := 0.0
	for _, w := range ways {
		sum += w
	}
	return min(1, 2*sum*math.Exp(-choose(n+m, m)))
}

// normalP is the two-sided p-value of U by the normal distribution.
func normalP(a, b []float64, u float64) float64 {
	all := append(slices.Clone(a), b...)
	slices.Sort(all)
	n, m, tied := float64(len(a)), float64(len(b)), 0.0
	for i := 0; i < len(all); {
		j := i
		for j < len(all) && all[j] == all[i] {
			j++
		}
		t := float64(j - i)
		tied += t*t*t - t
		i = j
	}
	total := n + m
	variance := n * m / 12 * (total + 1 - tied/(total*max(1, total-1)))
	if variance <= 0 {
		return 1
	}
	z := max(0, math.Abs(u-n*m/2)-0.5) / math.Sqrt(variance)
	return math.Erfc(z / math.Sqrt2)
}
