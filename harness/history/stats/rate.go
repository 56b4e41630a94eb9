// Package stats are the few well-known tests that the history is judged by: the Wilson
// score interval of a rate, Fisher's exact test of two rates, and the Mann-Whitney test
// of two samples with the Hodges-Lehmann estimate of their shift.
package stats

import "math"

// Wilson is the score interval of a rate of k of n, at a confidence such as 0.95 (E. B.
// Wilson, 1927). Of no trials nothing is known: 0 to 1.
func Wilson(k, n int, confidence float64) (low, high float64) {
	if n == 0 {
		return 0, 1
	}
	z := normalQuantile(1 - (1-confidence)/2)
	p, m := float64(k)/float64(n), float64(n)
	middle := (p + z*z/(2*m)) / (1 + z*z/m)
	half := z / (1 + z*z/m) * math.Sqrt(p*(1-p)/m+z*z/(4*m*m))
	low, high = max(0, middle-half), min(1, middle+half)
	if k == 0 { // exact at the ends, not 1e-17
		low = 0
	}
	if k == n {
		high = 1
	}
	return low, high
}

// normalQuantile is the p-quantile of the standard normal distribution.
func normalQuantile(p float64) float64 { return math.Sqrt2 * math.Erfinv(2*p-1) }

// Fisher is Fisher's exact test, one-sided: the probability of k2 or more of n2, were
// both rates the same and all the k1 + k2 hits dealt out to n1 + n2 trials.
func Fisher(k1, n1, k2, n2 int) float64 {
	hits, p := k1+k2, 0.0
	for k := k2; k <= min(hits, n2); k++ {
		if hits-k <= n1 {
			p += math.Exp(choose(n2, k) + choose(n1, hits-k) - choose(n1+n2, hits))
		}
	}
	return min(1, p)
}

// choose is the logarithm of the binomial coefficient.
func choose(n, k int) float64 {
	f := func(x int) float64 { v, _ := math.Lgamma(float64(x + 1)); return v }
	return f(n) - f(k) - f(n-k)
}

// maxMore bounds how many more trials are thought of.
const maxMore = 1000

// More is how many more trials of each of two the difference of their rates needs to be
// significant at alpha, if things go on as they did: 0 if it is already, -1 if no
// reasonable number is enough. The second's rate is the higher one.
func More(k1, n1, k2, n2 int, alpha float64) int {
	r1, r2 := rate(k1, n1), rate(k2, n2)
	for m := range maxMore {
		if Fisher(k1+int(r1*float64(m)), n1+m, k2+int(r2*float64(m)), n2+m) <= alpha*(1+1e-9) {
			return m
		}
	}
	return -1
}

func rate(k, n int) float64 {
	if n == 0 {
		return 0
	}
	return float64(k) / float64(n)
}
