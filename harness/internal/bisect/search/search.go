// Package search chooses which commit to boot next when a boot hang is bisected, and how often, and says how sure the answer is.
//
// It holds a joint belief over two unknowns: which candidate is the first bad one, and with what rate the hang shows in a
// boot that can hang. A candidate that contains the first bad commit shows Bad at that rate, any other at Options.WrongRate.
// Each verdict turns the belief by Bayes' rule; each choice is the one that promises most information about the culprit for
// its cost. As long as every verdict agrees with a hang that shows each time, the choices are those of git bisect.
//
// The package is pure: no I/O, no clock, no randomness. The same history, options and observations give the same choices,
// so a search is resumed by replaying its observations.
package search

import (
	"fmt"
	"math"
)

// History is the part of a version history that holds the culprit: what is in the bad end and not in the good ends.
// Candidates are numbered from 0 in topological order, each after its parents.
type History struct {
	// Parents lists, for each candidate, its parents that are candidates too; each lower than the candidate's own number.
	// The last candidate is the bad end, and every other is one of its ancestors.
	Parents [][]int
}

// Verdict is what one boot of a candidate showed.
type Verdict int

// The verdicts. Skip says that the candidate cannot be judged: it does not build, or fails in another way.
const (
	Good Verdict = iota
	Bad
	Skip
)

func (v Verdict) String() string {
	switch v {
	case Good:
		return "good"
	case Bad:
		return "bad"
	case Skip:
		return "skip"
	}
	return fmt.Sprintf("Verdict(%d)", int(v))
}

// Older stands for the good ends where a candidate is expected. As an answer: the culprit is older than the whole history.
const Older = -1

// Options says what is believed before the first boot, what things cost and when to stop. The zero value is ready to use.
type Options struct {
	// Confidence is the probability at which the search is done, above 0 and below 1; 0 is DefaultConfidence.
	Confidence float64
	// Intermittent says that the hang is known not to show in every boot: each rate from 0.05 to 1 is equally likely.
	Intermittent bool
	// Steady is the prior probability that the hang shows in every boot of a bad candidate, above 0 and below 1; the rest
	// is spread over lower rates. 0 is DefaultSteady. It has no effect together with Intermittent.
	Steady float64
	// WrongRate is the probability that a boot without the culprit is judged Bad, from 1e-9 to 0.04. 0 is 1e-8; with
	// Intermittent it is not known then, and learnt: 0.001 is taken to be likely (0.8), 0.005 (0.12) and 0.02 (0.08) less.
	WrongRate float64
	// SwitchCost is what making a candidate ready costs, in boots, from 0 to 1000. It is paid when a candidate is
	// booted that was not booted before.
	SwitchCost float64
	// Rebuild says that nothing built is kept: SwitchCost is also paid for going back to a candidate.
	Rebuild bool
	// BadEndBoots is how often the bad end was booted before the search and each time was bad. 0 is the user's word: it can hang,
	// and nothing is known of how often. Boots of the bad end that are passed to Observe, the good ones too, do not count here.
	BadEndBoots int
	// OlderPrior is the prior probability that the culprit is in the good ends already and was missed there; 0 takes the
	// user's word that they are good. Below 1. Above 0, Next can choose Older: a boot of a good end.
	OlderPrior float64
	// GoodEndBoots is how often the good ends were seen good. It counts only together with OlderPrior.
	GoodEndBoots int
}

// DefaultConfidence is the probability of the answer that is asked for where nothing is said.
const DefaultConfidence = 0.99

// DefaultSteady is the prior probability of a hang that shows every time. It is chosen so high that a hang which does
// never costs more boots than git bisect, in histories up to some 100,000 commits and with the default confidence;
// Answer.Doubted tells what the same observations are worth to someone who believes in it less.
const DefaultSteady = 1 - 1e-5

// DoubtedSteady is the prior behind Answer.Doubted: one hang in ten does not show every time.
const DoubtedSteady = 0.9

func (o Options) withDefaults() (Options, error) {
	if o.Confidence == 0 {
		o.Confidence = DefaultConfidence
	}
	if o.Steady == 0 {
		o.Steady = DefaultSteady
	}
	if o.WrongRate == 0 && !o.Intermittent {
		o.WrongRate = 1e-8
	}
	switch {
	case !(o.Confidence > 0 && o.Confidence < 1):
		return o, fmt.Errorf("confidence %v: want above 0 and below 1", o.Confidence)
	case !(o.Steady > 0 && o.Steady < 1):
		return o, fmt.Errorf("prior of a steady hang %v: want above 0 and below 1", o.Steady)
	case o.WrongRate != 0 && !(o.WrongRate >= 1e-9 && o.WrongRate <= 0.04):
		return o, fmt.Errorf("rate of wrong verdicts %v: want 1e-9 to 0.04", o.WrongRate)
	case !(o.SwitchCost >= 0 && o.SwitchCost <= 1000):
		return o, fmt.Errorf("cost of another candidate %v boots: want 0 to 1000", o.SwitchCost)
	case o.BadEndBoots < 0 || o.BadEndBoots > maxBoots:
		return o, fmt.Errorf("boots of the bad end %d: want 0 to %d", o.BadEndBoots, maxBoots)
	case o.GoodEndBoots < 0 || o.GoodEndBoots > maxBoots:
		return o, fmt.Errorf("boots of the good ends %d: want 0 to %d", o.GoodEndBoots, maxBoots)
	case !(o.OlderPrior >= 0 && o.OlderPrior < 1):
		return o, fmt.Errorf("prior of a culprit before the history %v: want 0 to below 1", o.OlderPrior)
	}
	return o, nil
}

// maxBoots bounds how many observations of one kind are taken, so that no sum of logarithms leaves the range of float64.
const maxBoots = 1_000_000

// Search is the state of one bisection. It is not safe for concurrent use.
type Search struct {
	opts       Options
	dag        *dag
	belief     belief
	counts     []tally // what was observed of each candidate
	skipped    skipSet
	twin       []bool        // candidates that need no boot: another makes the same image
	twins      map[int][]int // those, by that other one
	seen       []seen        // every observation and Same, in order
	olderBoots int           // of the good ends
	last       int           // the candidate of the last observation
	next       *choice       // cached until the next observation
}

// seen is a verdict on a candidate, or that it builds the same image as another.
type seen struct {
	candidate int
	verdict   Verdict
	same      int
	isSame    bool
}

// tally counts the verdicts of one candidate.
type tally struct{ good, bad, skip int }

func (t tally) judged() bool { return t.good+t.bad > 0 }

// New starts a search.
// The error wraps ErrHistory where the history is at fault.
func New(h History, o Options) (*Search, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("search options: %w", err)
	}
	d, err := newDAG(h)
	if err != nil {
		return nil, err
	}
	return start(d, o), nil
}

func start(d *dag, o Options) *Search {
	return &Search{opts: o, dag: d, belief: newBelief(d, o), counts: make([]tally, d.n), skipped: newSkipSet(d), twin: make([]bool, d.n), twins: map[int][]int{}, olderBoots: o.GoodEndBoots, last: nothing}
}

// nothing is the candidate before the first.
const nothing = Older - 1

// Choice is what to boot next.
type Choice struct {
	Candidate int
	// Boots is how often to boot it at most before Next is asked again; stop at the first Bad or Skip.
	Boots int
}

// Next chooses what to boot next. done says that Answer is as sure as was asked for, or that no boot could make it surer;
// the choice is then void. It may be asked any time and answers the same until the next Observe.
func (s *Search) Next() (c Choice, done bool) {
	n := s.choose()
	return n.Choice, n.done
}

// Observe takes the verdict of one boot. A candidate whose latest verdict is Skip is not asked for again.
// Verdicts that contradict each other are no error: they make an intermittent hang, or else a wrong verdict, more likely.
// The error is for a candidate or a verdict that does not exist, and leaves the search as it was. Older stands for the
// good ends, whose verdict can be Good or Bad where Options.OlderPrior allows for it.
func (s *Search) Observe(candidate int, v Verdict) error {
	switch {
	case v < Good || v > Skip:
		return fmt.Errorf("observe candidate %d: unknown verdict %d", candidate, int(v))
	case len(s.seen) >= maxBoots:
		return fmt.Errorf("observe candidate %d: more than %d observations", candidate, maxBoots)
	case candidate == Older && s.opts.OlderPrior == 0:
		return fmt.Errorf("observe the good ends: they are taken as good, the options give no prior for a culprit before them")
	case candidate == Older && v == Skip:
		return fmt.Errorf("observe the good ends: they cannot be skipped")
	case candidate < Older || candidate >= s.dag.n:
		return fmt.Errorf("observe candidate %d: want 0 to %d", candidate, s.dag.n-1)
	}
	s.next = nil
	s.seen = append(s.seen, seen{candidate: candidate, verdict: v})
	s.last = candidate
	if candidate == Older {
		s.olderBoots++
		s.belief.observeOlder(v)
		return nil
	}
	switch v {
	case Skip:
		s.counts[candidate].skip++
		for _, c := range append([]int{candidate}, s.twins[candidate]...) {
			s.skipped.add(c)
		}
		return nil
	case Good:
		s.counts[candidate].good++
	case Bad:
		s.counts[candidate].bad++
	}
	for _, c := range append([]int{candidate}, s.twins[candidate]...) {
		s.skipped.remove(c)
	}
	s.belief.observe(candidate, v)
	return nil
}

// With returns a search over the same history, with the same observations, under other options: to go on with a higher
// Confidence, or to ask for the boots that would convince someone who believes less in a steady hang.
func (s *Search) With(o Options) (*Search, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("search options: %w", err)
	}
	t := start(s.dag, o)
	for _, v := range s.seen {
		if v.isSame {
			err = t.Same(v.candidate, v.same)
		} else {
			err = t.Observe(v.candidate, v.verdict)
		}
		if err != nil {
			return nil, err
		}
	}
	return t, nil
}

// Posterior returns, for each candidate, the probability that it is the first bad one. It sums to 1 − Answer.Older.
func (s *Search) Posterior() []float64 {
	out := make([]float64, s.dag.n)
	for c := range out {
		out[c] = s.belief.classes[s.belief.classOf[c]].each
	}
	return out
}

// entropy is that of a coin with probability p, in bits.
func entropy(p float64) float64 {
	if p <= 0 || p >= 1 {
		return 0
	}
	return -(p*math.Log(p) + (1-p)*math.Log1p(-p)) / math.Ln2
}
