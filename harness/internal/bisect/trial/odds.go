// Package trial answers whether a series of patches mends a failure that was seen: what
// does not apply, and how sure so many boots make one.
package trial

import "math"

// Seen is how often the failure showed.
type Seen struct {
	Failed int `json:"failed"`
	Boots  int `json:"boots"`
}

// Gone is how probable it is that the failure is gone after good boots without it, if it
// showed in so many before. Before them both are taken to be as likely: that it is gone,
// and that it shows as often as before. How often that is, is not known either: a uniform
// prior on the rate gives Beta(failed+1, passed+1) (a beta-binomial model), so that
//
//	P(good boots | it is there) = B(failed+1, passed+1+good) / B(failed+1, passed+1)
func (s Seen) Gone(good int) float64 {
	failed, passed := float64(s.Failed), float64(s.Boots-s.Failed)
	still := math.Exp(lbeta(failed+1, passed+1+float64(good)) - lbeta(failed+1, passed+1))
	return 1 / (1 + still)
}

// Need is how many good boots make Gone reach a confidence; 0 where more than limit
// would be needed.
func (s Seen) Need(confidence float64, limit int) int {
	for n := 1; n <= limit; n++ {
		if s.Gone(n) >= confidence {
			return n
		}
	}
	return 0
}

func lbeta(a, b float64) float64 {
	la, _ := math.Lgamma(a)
	lb, _ := math.Lgamma(b)
	lab, _ := math.Lgamma(a + b)
	return la + lb - lab
}
