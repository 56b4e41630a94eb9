package search

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
		top = max(top, c.weight[steady])
	}
	var live [][]int32
	var total int32
	for _, c := range classes {
		if w := c.weight[steady]; w > top/2 && w > 0 {
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
		if s.skipped.has(c) {
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

// foresee returns the outlook where each boot is bad with one of the rates, which have the given weights, for each number
// of boots.
func foresee(weight, rates []float64, boots []int) []outlook {
	out := make([]outlook, len(boots))
	var each float64
	for k, w := range weight {
		each += w
		if w == 0 {
			continue
		}
		none, done := 1.0, 0 // the probability of no Bad in that many boots
		for i, m := range boots {
			for ; done < m; done++ {
				none *= 1 - rates[k]
			}
			out[i].good += w * none
			out[i].boots += w * (1 - none) / rates[k]
		}
	}
	for i := range out {
		out[i].blur = each * entropy(out[i].good/each)
	}
	return out
}

// view is what a class adds to the outlook of the candidates that contain it.
type view struct {
	older  bool // it stands for the good ends
	within []int32
	gain   []outlook // per member: how the outlook of a candidate that contains it differs from one that does not
}

// members is how many members of the class candidate c contains; c can be Older, which contains what it stands for.
func (v *view) members(c int) float64 {
	switch {
	case c != Older:
		return float64(v.within[c])
	case v.older:
		return 1
	}
	return 0
}

// views returns those of the classes that matter, and the outlook of a candidate that contains nothing.
func (s *Search) views(boots []int) (views []view, base []outlook) {
	negligible := 1e-6 * (1 - s.opts.Confidence) / float64(len(s.belief.classes))
	base = make([]outlook, len(boots))
	for _, c := range s.belief.classes {
		if c.each*float64(c.size) < negligible {
			continue
		}
		v := view{older: c.member == Older, within: c.within, gain: foresee(c.weight, rates, boots)}
		for i, o := range foresee([]float64{c.each}, []float64{s.belief.wrong}, boots) {
			base[i].add(o, float64(c.size))
			v.gain[i].add(o, -1)
		}
		views = append(views, v)
	}
	return views, base
}

// gain chooses the candidate and the number of boots that promise most information about the culprit per cost.
func (s *Search) gain(doubt []float64) choice {
	boots := batches[:1]
	if s.opts.SwitchCost > 0 {
		boots = batches
	}
	views, base := s.views(boots)
	best, score := choice{Choice: Choice{Candidate: s.bestGroup().candidate()}, done: true}, 1e-15
	var last outlook // that of the candidate before, and what was to be paid for it
	paid := -1.0
	sums := make([]outlook, len(boots))
	first := 0
	if s.belief.older {
		first = Older
	}
	for c := first; c < s.dag.n; c++ {
		if c != Older && s.skipped.has(c) {
			continue
		}
		copy(sums, base)
		for _, v := range views {
			if n := v.members(c); n > 0 {
				for i, o := range v.gain {
					sums[i].add(o, n)
				}
			}
		}
		skip, ready := usualSkip, s.ready(c)
		if doubt == nil && sums[0] == last && ready >= paid && paid >= 0 {
			continue // no better than its neighbour
		}
		last, paid = sums[0], ready
		if doubt != nil && c != Older && !s.counts[c].judged() {
			skip = max(skip, doubt[c])
		}
		for i, o := range sums {
			v := (entropy(o.good) - o.blur) / (o.boots + ready)
			if doubt != nil {
				v *= 1 - skip
			}
			if v > score*(1+1e-9) {
				best, score = choice{Choice: Choice{Candidate: c, Boots: boots[i]}, good: o.good, skip: skip}, v
			}
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
