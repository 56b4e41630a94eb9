package console

import "slices"

// lineCost is what a Line takes in memory beside its text, in bytes.
const lineCost = 120

// store holds the newest lines, up to a budget of bytes.
type store struct {
	budget int
	used   int
	head   int // lines before it are evicted
	lines  []Line
}

func (s *store) add(l Line) {
	s.lines = append(s.lines, l)
	s.used += len(l.Raw) + lineCost
	for s.used > s.budget && len(s.lines)-s.head > 1 {
		s.used -= len(s.lines[s.head].Raw) + lineCost
		s.lines[s.head] = Line{}
		s.head++
	}
	if s.head > 1024 && s.head > len(s.lines)/2 {
		s.lines = append([]Line(nil), s.lines[s.head:]...)
		s.head = 0
	}
}

// held are the lines in memory, oldest first.
func (s *store) held() []Line { return s.lines[s.head:] }

// from gives the lines in memory that end behind offset.
func (s *store) from(offset int64) []Line {
	held := s.held()
	i, _ := slices.BinarySearchFunc(held, offset, func(l Line, offset int64) int {
		if l.End <= offset {
			return -1
		}
		return 1
	})
	return held[i:]
}
