package search

import "testing"

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
	for _, c := range [][2]int{{-1, 0}, {0, 16}} {
		if s.Same(c[0], c[1]) == nil {
			t.Errorf("Same(%d, %d) is no error", c[0], c[1])
		}
	}
}
