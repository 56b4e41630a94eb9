package bisect_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/unwedge/unwedge/harness/bisect"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/scenarios"
)

// world is a history of kernels of which all from guilty on hang, and counts
// what is asked of it.
type world struct {
	t      *testing.T
	n      int
	guilty int
	broken map[int]bool // does not build
	other  map[int]bool // fails in another way
	same   map[int]int  // makes the image of an earlier one
	slow   map[int]int  // so many first boots of it are still at work at the deadline
	taken  map[int]int  // so many first boots of it are taken for hangs by mistake
	stamp  string       // of all candidates
	goods  int          // more good ends, that make the image of the first
	rate   float64      // of the hang, 1 where 0
	chance float64      // of another failure, in any boot
	unlike float64      // the same, of the good ends
	rng    *rand.Rand
	files  string // where kernels are written to, "" for nowhere
	fail   error  // of the harness, at the boots that fails says
	fails  func(boot int) bool
	// before is called before each action; its error ends the action.
	before func(ctx context.Context, what string) error

	mu       sync.Mutex
	building bool
	hurries  []<-chan struct{} // as Prepare was called
	built    map[string]int    // successes
	boots    map[string]int
	booted   int
	events   []bisect.Event
}

func newWorld(t *testing.T, n, guilty int) *world {
	return &world{t: t, n: n, guilty: guilty, rate: 1, built: map[string]int{}, boots: map[string]int{},
		broken: map[int]bool{}, other: map[int]bool{}, same: map[int]int{}, slow: map[int]int{}, taken: map[int]int{}}
}

func id(i int) string { return fmt.Sprintf("c%03d", i) }

func (w *world) candidate(i int) bisect.Candidate {
	return bisect.Candidate{ID: id(i), Name: id(i), About: "change " + id(i), Stamp: w.stamp}
}

// Good is number -1, and those before it.
func (w *world) Good() []bisect.Candidate {
	w.mu.Lock() // a build in the background reads w.same
	defer w.mu.Unlock()
	out := []bisect.Candidate{w.candidate(-1)}
	for i := range w.goods {
		w.same[-2-i] = -1
		out = append(out, w.candidate(-2-i))
	}
	return out
}

func (w *world) Candidates() []bisect.Candidate {
	var out []bisect.Candidate
	for i := range w.n {
		out = append(out, w.candidate(i))
	}
	return out
}

func (w *world) Parents() [][]int {
	out := make([][]int, w.n)
	for i := 1; i < w.n; i++ {
		out[i] = []int{i - 1}
	}
	return out
}

func index(c bisect.Candidate) int {
	var i int
	if _, err := fmt.Sscanf(c.ID, "c%d", &i); err != nil {
		panic(err)
	}
	return i
}

func (w *world) Prepare(ctx context.Context, c bisect.Candidate, hurry <-chan struct{}) (bisect.Kernel, error) {
	w.mu.Lock()
	if w.building {
		w.t.Error("two builds at once")
	}
	w.building = true
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		w.building = false
		w.mu.Unlock()
	}()
	w.mu.Lock()
	w.hurries = append(w.hurries, hurry)
	w.mu.Unlock()
	if w.before != nil {
		if err := w.before(ctx, "build"); err != nil {
			return bisect.Kernel{}, err
		}
	}
	i := index(c)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken[i] {
		return bisect.Kernel{}, &bisect.UnbuildableError{Candidate: c, Reason: "a.c:1: error"}
	}
	w.built[c.ID]++
	image := "image-" + c.ID
	if s, ok := w.same[i]; ok {
		image = "image-" + id(s)
	}
	if w.files != "" {
		path := filepath.Join(w.files, c.ID)
		if err := errors.Join(os.MkdirAll(w.files, 0o755), os.WriteFile(path, nil, 0o644)); err != nil {
			return bisect.Kernel{}, err
		}
		return bisect.Kernel{Arg: path, Image: image}, nil
	}
	return bisect.Kernel{Arg: "deb:" + c.ID, Image: image, Took: time.Second}, nil
}

func (w *world) boot(ctx context.Context, c bisect.Candidate, k bisect.Kernel) (*result.Result, error) {
	if w.before != nil {
		if err := w.before(ctx, "boot"); err != nil {
			return nil, err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.booted++
	if w.fails != nil && w.fails(w.booted) {
		return nil, w.fail
	}
	w.boots[k.Image]++
	if w.files != "" {
		if _, err := os.Stat(k.Arg); err != nil {
			w.t.Errorf("boot of a kernel that is gone: %v", err)
		}
	}
	i := index(c)
	r := &result.Result{Outcome: scenarios.Booted, Expected: true, Dir: fmt.Sprintf("run%d", w.booted)}
	r.Times.Started = time.Unix(int64(w.booted), 0)
	hangs := i >= w.guilty && (w.rate == 1 || w.rng.Float64() < w.rate)
	switch {
	case w.slow[i] > 0:
		w.slow[i]--
		r.Outcome, r.Expected = scenarios.Slow, false
	case w.other[i], w.chance > 0 && w.rng.Float64() < w.chance, i < 0 && w.unlike > 0 && w.rng.Float64() < w.unlike:
		r.Outcome, r.Expected = scenarios.Panicked, false
		r.Diagnosis = &result.Diagnosis{Title: "kernel panic: other", Signature: "panic-other"}
	case hangs, w.taken[i] > 0:
		w.taken[i]--
		r.Outcome, r.Expected = scenarios.Hung, false
		r.Diagnosis = &result.Diagnosis{Title: "hang: in f", Signature: "hang-f"}
	}
	return r, nil
}

func (w *world) bisection(dir string) bisect.Bisection {
	return bisect.Bisection{
		Source: w, Boot: w.boot, Dir: filepath.Join(dir, "b"), Verdicts: bisect.Verdicts{Dir: filepath.Join(dir, "verdicts")},
		Question: bisect.Question{Source: "fake", Good: []string{id(-1)}, Bad: id(w.n - 1), Scenario: "tiny"},
		Tell: func(e bisect.Event) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.events = append(w.events, e)
		},
	}
}

// must runs a bisection that has to find its answer.
func must(t *testing.T, b bisect.Bisection) *bisect.Report {
	t.Helper()
	r, err := b.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func found(t *testing.T, w *world, r *bisect.Report) {
	t.Helper()
	if r.First == nil || r.First.ID != id(w.guilty) {
		t.Errorf("first bad %v (suspects %v), want %s", r.First, r.Suspects, id(w.guilty))
	}
}

var errKilled = errors.New("killed")
