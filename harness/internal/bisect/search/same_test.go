package search

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// Two that make the same image leave no culprit between them, and what is known
// of one is known of the other.
func TestSame(t *testing.T) {
	parents := make([][]int, 16)
	for i := 1; i < 16; i++ {
		parents[i] = []int{i - 1}
	}
	s, err := New(History{Parents: parents}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Same(4, 11); err != nil {
		t.Fatal(err)
	}
	for i, p := range s.Posterior() {
		if between := i > 4 && i <= 11; between != (p < 1e-6) {
			t.Errorf("candidate %d: %v", i, p)
		}
	}
	if err := s.Observe(4, Good); err != nil {
		t.Fatal(err)
	}
	for {
		c, done := s.Next()
		if done {
			break
		}
		if c.Candidate <= 11 {
			t.Fatalf("asks for %d, of which all is known", c.Candidate)
		}
		if err := s.Observe(c.Candidate, Bad); err != nil {
			t.Fatal(err)
		}
	}
	if a := s.Answer(); a.Candidate != 12 {
		t.Errorf("answer %+v, want 12", a)
	}
	for _, c := range [][2]int{{-2, 0}, {0, 16}} {
		if s.Same(c[0], c[1]) == nil {
			t.Errorf("Same(%d, %d) is no error", c[0], c[1])
		}
	}
}

// Every three candidates make the same image, as they turn out when built: each image is asked for under one candidate
// only, however often it has to be booted.
func TestSameIsNotAskedForAgain(t *testing.T) {
	parents := make([][]int, 90)
	for i := 1; i < 90; i++ {
		parents[i] = []int{i - 1}
	}
	for culprit := 0; culprit < 90; culprit += 3 {
		r := rand.New(rand.NewPCG(1, uint64(culprit)))
		s, err := New(History{Parents: parents}, Options{Intermittent: true, SwitchCost: float64(culprit % 2)})
		if err != nil {
			t.Fatal(err)
		}
		booted, twins := map[int]int{}, map[int]bool{} // image → candidate
		for {
			c, done := s.Next()
			if done {
				break
			}
			image := c.Candidate / 3
			if first, ok := booted[image]; ok && first != c.Candidate {
				if twins[c.Candidate] {
					t.Fatalf("culprit %d: %d is asked for again, though it is the same as %d", culprit, c.Candidate, first)
				}
				twins[c.Candidate] = true
				if err := s.Same(first, c.Candidate); err != nil {
					t.Fatal(err)
				}
				continue
			}
			booted[image] = c.Candidate
			v := Good
			if c.Candidate >= culprit && r.IntN(2) == 0 {
				v = Bad
			}
			if err := s.Observe(c.Candidate, v); err != nil {
				t.Fatal(err)
			}
		}
		if a := s.Answer(); a.Confidence < 0.99 {
			t.Errorf("culprit %d: %+v", culprit, a)
		}
	}
}

// What builds the same image as the good ends holds no culprit.
func TestSameAsGood(t *testing.T) {
	s, err := New(History{Parents: [][]int{nil, {0}, {1}, {2}}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Same(Older, 1); err != nil {
		t.Fatal(err)
	}
	if p := s.Posterior(); p[0] > 1e-6 || p[1] > 1e-6 || p[2] < 0.49 {
		t.Errorf("posterior %v", p)
	}
}

// What makes the image of one that cannot be judged cannot be judged either, whichever is known first: the search ends, and
// names both with what they hide.
func TestSameAsSkipped(t *testing.T) {
	for _, skipFirst := range []bool{true, false} {
		s, err := New(History{Parents: [][]int{nil, {0}, {1}, {2}}}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		told := []func() error{func() error { return s.Observe(1, Skip) }, func() error { return s.Same(1, 2) }}
		if !skipFirst {
			slices.Reverse(told)
		}
		for _, tell := range append(told, func() error { return s.Observe(0, Good) }, func() error { return s.Observe(3, Bad) }) {
			if err := tell(); err != nil {
				t.Fatal(err)
			}
		}
		if c, done := s.Next(); !done {
			t.Errorf("skipped first %v: asks for %d, which tells nothing", skipFirst, c.Candidate)
		}
		if a := s.Answer(); !slices.Equal(a.Suspects, []int{1, 2, 3}) || a.Confidence < 0.99 {
			t.Errorf("skipped first %v: answer %+v, want one of 1 to 3", skipFirst, a)
		}
		if err := s.Observe(1, Good); err != nil {
			t.Fatal(err)
		}
		if a := s.Answer(); !slices.Equal(a.Suspects, []int{3}) {
			t.Errorf("skipped first %v: answer %+v when the image was good after all", skipFirst, a)
		}
	}
}
