package phrase

import (
	"bytes"
	"slices"
	"testing"
)

func TestEach(t *testing.T) {
	x := NewIndex([]Anchor{{[]byte("alpha"), false}, {[]byte("beta"), true}, {[]byte("=>"), true}, {[]byte("alphabet"), false}})
	for line, want := range map[string][]int{
		"":                     nil,
		"alp":                  nil,
		"an alpha":             {0, 3},
		"alpha alpha alpha":    {0, 3},
		"beta":                 {1},
		"no beta":              nil,
		"=> ":                  {2},
		"beta, and then alpha": {0, 1, 3},
	} {
		var got []int
		x.Each([]byte(line), func(i int) { got = append(got, i) })
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%q gives %v, want %v", line, got, want)
		}
	}
}

func BenchmarkEach(b *testing.B) {
	x := NewIndex([]Anchor{{[]byte("alpha"), false}, {[]byte("beta"), true}})
	line := bytes.Repeat([]byte("systemd[1]: Started demo.service - A Demo. "), 4)
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		x.Each(line, func(int) {})
	}
}
