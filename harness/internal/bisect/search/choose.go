package search

import "slices"

// choice is a Choice and what is expected of it.
type choice struct {
	Choice
	done bool
	good float64 // probability that all its boots are good, given that it can be judged
	skip float64 // probability that it cannot be judged
}

// likelySteady is the probability of "the hang is steady and no verdict was wrong" above which the search goes like git.
const likelySteady = 0.9

// batches are the numbers of boots that are weighed against each other where going to another candidate costs something.
var batches = []int{1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48}

func (s *Search) choose() choice {
	if s.next == nil {
		c := s.decide()
		s.next = &c
	}
	return *s.next
}

func (s *Search) decide() choice {
	if g := s.bestGroup(); g.p >= s.opts.Confidence {
		return choice{Choice: Choice{Candidate: g.candidate()}, done: true}
	}
	doubt := s.skipped.likely(s.counts)
	if c, ok := s.halve(doubt); ok {
		return c
	}
	return s.gain(doubt)
}

// halve chooses as git bisect does: the candidate that divides those that can be the first bad one, if the hang is steady and
// no verdict was wrong, most evenly. Candidates that probably cannot be judged count for less. It is not ok where another
// explanation of what was seen has weight, or where nothing is left to divide.
func (s *Search) halve(doubt []float64) (choice, bool) {
	classes := s.belief.classes
	var top, mass float64
	for _, c := range classes {
		top = max(top, c.steady())
	}
	var live [][]int32
	var total int32
	for _, c := range classes {
		if w := c.steady(); w > top/2 && w > 0 {
			if c.member == Older {
				return choice{}, false
			}
			live = append(live, c.within)
			total += int32(c.size)
			mass += w * float64(c.size)
		}
	}
	if mass < likelySteady {
		return choice{}, false
	}
	best, score, inside := -1, 0.0, int32(0)
	for c := range s.counts {
		if s.skipped.has(c) || s.twin[c] {
			continue
		}
		var in int32
		for _, w := range live {
			in += w[c]
		}
		v := float64(min(in, total-in))
		if doubt != nil {
			v *= 1 - doubt[c]
		}
		if v > score*(1+1e-9) {
			best, score, inside = c, v, in
		}
	}
	if best < 0 {
		return choice{}, false
	}
	c := choice{Choice: Choice{Candidate: best, Boots: 1}, good: 1 - float64(inside)/float64(total), skip: usualSkip}
	if doubt != nil {
		c.skip = max(c.skip, doubt[best])
	}
	return c, true
}

// outlook is, for one class and one number of boots of a candidate that contains it, per member: the weight of "all good",
// the weight × entropy of that outcome, and the weight × expected number of boots to the first Bad.
type outlook struct{ good, blur, boots float64 }

// add adds n times another outlook.
func (o *outlook) add(other outlook, n float64) {
	o.good += n * other.good
	o.blur += n * other.blur
	o.boots += n * other.boots
}

// foresee returns the outlook where each boot is bad with one of some rates, which have the given weights, for each number
// of boots.
func foresee(weight []float64, rate func(k int) float64, boots []int) []outlook {
	out := make([]outlook, len(boots))
	var each float64
	for k, w := range weight {
		each += w
		if w == 0 {
			continue
		}
		r := rate(k)
		none, done := 1.0, 0 // the probability of no Bad in that many boots
		for i, m := range boots {
			for ; done < m; done++ {
				none *= 1 - r
			}
			out[i].good += w * none
			out[i].boots += w * (1 - none) / r
		}
	}
	for i := range out {
		out[i].blur = each * entropy(out[i].good/each)
	}
	return out
}

// prospect is what the candidates promise under the present belief.
type prospect struct {
	boots []int
	base  []outlook   // of a candidate that contains nothing
	gain  [][]outlook // per class and member: what it adds to a candidate that contains it; nil for a class that does not matter
}

func (s *Search) prospect() prospect {
	p := prospect{boots: batches[:1]}
	if s.opts.SwitchCost > 0 {
		p.boots = batches
	}
	p.base = make([]outlook, len(p.boots))
	p.gain = make([][]outlook, len(s.belief.classes))
	negligible := 1e-4 * (1 - s.opts.Confidence) / float64(len(s.belief.classes))
	for j, c := range s.belief.classes {
		if c.each*float64(c.size) < negligible {
			continue
		}
		byRate, byWrong := s.belief.marginals(c.weight)
		p.gain[j] = foresee(byRate, func(k int) float64 { return rates[k] }, p.boots)
		for i, o := range foresee(byWrong, func(k int) float64 { return s.belief.hyps[k*len(rates)].wrong }, p.boots) {
			p.base[i].add(o, float64(c.size))
			p.gain[j][i].add(o, -1)
		}
	}
	return p
}

// of returns the outlook of a candidate; Older contains what stands for the good ends only.
func (p prospect) of(classes []class, candidate int) []outlook {
	sums := slices.Clone(p.base)
	for j, gain := range p.gain {
		if gain == nil {
			continue
		}
		n := 0.0
		if candidate != Older {
			n = float64(classes[j].within[candidate])
		} else if classes[j].member == Older {
			n = 1
		}
		for i, o := range gain {
			sums[i].add(o, n)
		}
	}
	return sums
}

// gain chooses the candidate and the number of boots that promise most information about the culprit per cost.
func (s *Search) gain(doubt []float64) choice {
	best := choice{Choice: Choice{Candidate: s.bestGroup().candidate()}, done: true}
	score := 1e-15
	p := s.prospect()
	weigh := func(c int, sums []outlook) {
		skip, ready := usualSkip, s.ready(c)
		if doubt != nil && c != Older && !s.counts[c].judged() {
			skip = max(skip, doubt[c])
		}
		for i, o := range sums {
			v := (entropy(o.good) - o.blur) / (o.boots + ready)
			if doubt != nil {
				v *= 1 - skip
			}
			if v > score*(1+1e-9) {
				best, score = choice{Choice: Choice{Candidate: c, Boots: p.boots[i]}, good: o.good, skip: skip}, v
			}
		}
	}
	if s.belief.older {
		weigh(Older, p.of(s.belief.classes, Older))
	}
	for _, chain := range s.dag.chains {
		sums := p.of(s.belief.classes, int(chain[0]))
		paid := -1.0 // what was to be paid for one that promises the same
		for i, f := range chain {
			c := int(f)
			if gain := p.gain[s.belief.classOf[c]]; gain != nil {
				for j, o := range gain {
					if i > 0 { // c contains what its parent contains, and itself
						sums[j].add(o, 1)
					}
				}
				paid = -1
			}
			if s.skipped.has(c) || s.twin[c] || doubt == nil && paid >= 0 && s.ready(c) >= paid {
				continue
			}
			paid = s.ready(c)
			weigh(c, sums)
		}
	}
	return best
}

// ready is what has to be paid before candidate c can be booted, in boots.
func (s *Search) ready(c int) float64 {
	if c == s.last || !s.opts.Rebuild && s.booted(c) {
		return 0
	}
	return s.opts.SwitchCost
}

// booted says whether candidate c was booted before, and was judged.
func (s *Search) booted(c int) bool {
	if c == Older {
		return s.olderBoots > 0
	}
	return s.counts[c].judged()
}
