package search

import "math"

// rates is the grid of hang rates: 0.05, 0.1, … 1. The last is the steady hang.
var rates = func() []float64 {
	out := make([]float64, 20)
	for k := range out {
		out[k] = float64(k+1) / 20
	}
	return out
}()

// steady is the place of rate 1 in the grid.
const steady = 19

// wrongs are the rates of wrong verdicts that are believed possible where none is told and the hang is intermittent, with
// their prior probabilities: most hangs are told apart well, but one that looks like many others is not.
var wrongs = []struct{ rate, prior float64 }{{0.001, 0.8}, {0.005, 0.12}, {0.02, 0.08}}

// hypothesis is what may hold of every boot: the rate of the hang, and that of wrong verdicts.
type hypothesis struct{ rate, wrong, prior float64 }

// hypotheses returns those that the options allow for. Their prior sums to 1.
func hypotheses(o Options) []hypothesis {
	var out []hypothesis
	prior := ratePrior(o)
	add := func(wrong, share float64) {
		for k, r := range rates {
			out = append(out, hypothesis{r, wrong, prior[k] * share})
		}
	}
	if o.WrongRate != 0 {
		add(o.WrongRate, 1)
		return out
	}
	for _, w := range wrongs {
		add(w.rate, w.prior)
	}
	return out
}

// class is a set of candidates that no observation so far tells apart: every observed candidate contains all of them or
// none. They share the likelihood of all that was seen, so the belief needs one row of numbers per class.
type class struct {
	size   int
	member int       // one of them; Older for the class that stands for the good ends
	log    []float64 // per hypothesis: log of prior × likelihood of one member
	weight []float64 // per hypothesis: the same, normalised over everything
	each   float64   // sum of weight: the posterior of one member
	within []int32   // per candidate: how many members it contains
}

// belief is the joint posterior over (first bad candidate, hypothesis).
type belief struct {
	dag     *dag
	hyps    []hypothesis
	logs    [2][2][]float64 // log-likelihood per hypothesis: by verdict, and by whether the culprit is contained
	older   bool            // classes[0] stands for the good ends
	classOf []int32
	classes []class // rows are never changed once shared: a copy of the slice is a copy of the belief
}

func newBelief(d *dag, o Options) belief {
	b := belief{dag: d, hyps: hypotheses(o), classOf: make([]int32, d.n)}
	for _, h := range b.hyps {
		b.logs[Bad][0] = append(b.logs[Bad][0], math.Log(h.wrong))
		b.logs[Bad][1] = append(b.logs[Bad][1], math.Log(h.rate))
		b.logs[Good][0] = append(b.logs[Good][0], math.Log1p(-h.wrong))
		b.logs[Good][1] = append(b.logs[Good][1], math.Log1p(-h.rate))
	}
	start := func(size, member int, p float64, within []int32) class {
		c := class{size: size, member: member, log: make([]float64, len(b.hyps)), within: within}
		for k, h := range b.hyps {
			c.log[k] = math.Log(h.prior*p) + times(o.BadEndBoots, math.Log(h.rate))
			if member == Older {
				c.log[k] += times(o.GoodEndBoots, math.Log1p(-h.rate))
			} else {
				c.log[k] += times(o.GoodEndBoots, math.Log1p(-h.wrong))
			}
		}
		return c
	}
	if o.OlderPrior > 0 {
		one := make([]int32, d.n)
		for c := range one {
			one[c] = 1 // nearly right: a candidate that forked off before the good ends need not contain all of theirs
		}
		b.older = true
		b.classes = append(b.classes, start(1, Older, o.OlderPrior, one))
		for c := range b.classOf {
			b.classOf[c] = 1
		}
	}
	b.classes = append(b.classes, start(d.n, d.n-1, (1-o.OlderPrior)/float64(d.n), d.size))
	b.normalise()
	return b
}

// times is n×x, and 0 for n = 0 even where x is infinite.
func times(n int, x float64) float64 {
	if n == 0 {
		return 0
	}
	return float64(n) * x
}

// ratePrior is the prior over the grid of rates.
func ratePrior(o Options) []float64 {
	if o.Intermittent {
		p := make([]float64, len(rates))
		for k := range p {
			p[k] = 1 / float64(len(rates))
		}
		return p
	}
	return steadyPrior(o.Steady)
}

func steadyPrior(mass float64) []float64 {
	p := make([]float64, len(rates))
	for k := range p {
		p[k] = (1 - mass) / float64(len(rates)-1)
	}
	p[steady] = mass
	return p
}

// clone returns a belief that can be changed without changing b.
func (b *belief) clone() belief {
	c := *b
	c.classOf = append([]int32(nil), b.classOf...)
	c.classes = append([]class(nil), b.classes...)
	return c
}

// observe turns the belief by one verdict, Good or Bad, of a candidate.
func (b *belief) observe(candidate int, v Verdict) {
	b.split(candidate)
	for j := range b.classes {
		b.multiply(j, b.holds(candidate, j), v)
	}
	b.normalise()
}

// observeOlder turns the belief by a verdict of the good ends.
func (b *belief) observeOlder(v Verdict) {
	for j := range b.classes {
		b.multiply(j, b.classes[j].member == Older, v)
	}
	b.normalise()
}

// holds says whether the candidate contains the members of a class. The class must not be divided by it.
func (b *belief) holds(candidate, class int) bool {
	m := b.classes[class].member
	return m == Older || b.dag.contains(candidate, m)
}

// multiply multiplies the likelihood of a verdict into a class.
func (b *belief) multiply(j int, contains bool, v Verdict) {
	c, term := &b.classes[j], b.logs[v][0]
	if contains {
		term = b.logs[v][1]
	}
	log := make([]float64, len(c.log))
	for k := range log {
		log[k] = c.log[k] + term[k]
	}
	c.log = log
}

// split divides every class of which the candidate contains a part.
func (b *belief) split(candidate int) {
	moved := make([]int32, len(b.classes)) // class → the class of those inside, 0 while not needed
	for j := range b.classes {
		c := b.classes[j]
		inside := int(c.within[candidate])
		if inside == 0 || inside == c.size || c.member == Older {
			continue
		}
		member := make([]bool, b.dag.n)
		var in, out int
		for f, k := range b.classOf {
			if int(k) != j {
				continue
			}
			if member[f] = b.dag.contains(candidate, f); member[f] {
				in = f
			} else {
				out = f
			}
		}
		new := class{size: inside, member: in, log: c.log, within: b.dag.count(member)}
		rest := make([]int32, b.dag.n)
		for f := range rest {
			rest[f] = c.within[f] - new.within[f]
		}
		b.classes[j] = class{size: c.size - inside, member: out, log: c.log, within: rest}
		moved[j] = int32(len(b.classes))
		b.classes = append(b.classes, new)
	}
	for f, k := range b.classOf {
		if moved[k] != 0 && b.dag.contains(candidate, f) {
			b.classOf[f] = moved[k]
		}
	}
}

// underflow is how far below the greatest a logarithm may lie before its weight is taken as 0: 1e-43 of the greatest.
const underflow = 100

// normalise works out the weights from the logarithms. No observation has likelihood 0 under every hypothesis: rates below
// 1 and a WrongRate above 0 allow for anything.
func (b *belief) normalise() {
	top := math.Inf(-1)
	for _, c := range b.classes {
		for _, l := range c.log {
			top = max(top, l)
		}
	}
	var sum float64
	for j := range b.classes {
		c := &b.classes[j]
		c.weight, c.each = make([]float64, len(c.log)), 0
		for k, l := range c.log {
			if l > top-underflow {
				c.weight[k] = math.Exp(l - top)
				c.each += c.weight[k]
			}
		}
		sum += c.each * float64(c.size)
	}
	for j := range b.classes {
		c := &b.classes[j]
		c.each /= sum
		for k := range c.weight {
			c.weight[k] /= sum
		}
	}
}

// rate returns the posterior of each rate of the grid.
func (b *belief) rate() []float64 {
	out := make([]float64, len(rates))
	for _, c := range b.classes {
		for k, w := range c.weight {
			out[k%len(rates)] += w * float64(c.size)
		}
	}
	return out
}

// marginals sums the weights of the hypotheses up by the rate of the hang, and by that of wrong verdicts.
func (b *belief) marginals(weight []float64) (byRate, byWrong []float64) {
	byRate, byWrong = make([]float64, len(rates)), make([]float64, len(b.hyps)/len(rates))
	for k, w := range weight {
		byRate[k%len(rates)] += w
		byWrong[k/len(rates)] += w
	}
	return byRate, byWrong
}

// steady is the weight of one member under the hypotheses of a hang that shows every time.
func (c *class) steady() float64 {
	var sum float64
	for k := steady; k < len(c.weight); k += len(rates) {
		sum += c.weight[k]
	}
	return sum
}
