package dump

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/unwedge/unwedge/harness/internal/model"
)

// differ compares two Dumps but for the text that they quote.
func differ(want, got *Dump) string {
	a, b := *want, *got
	if a.text, b.text = nil, nil; reflect.DeepEqual(a, b) {
		return ""
	}
	return "-want +got:\n" + cmp.Diff(a, b, cmpopts.IgnoreUnexported(Dump{}, Boot{}, Report{}))
}

// logs are those of testdata and the hostile ones, by name.
func logs(t testing.TB) map[string][]byte {
	paths, err := filepath.Glob("testdata/*/*.log")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no logs: %v", err)
	}
	all := hostileLogs(64 << 10)
	delete(all, "callers without end") // of too many open traces any may be closed
	for _, path := range paths {
		if all[path], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// TestLogIsParse: at any line the Dump of a Log is what Parse says of the same
// text, its evidence too, and no later line changes it.
func TestLogIsParse(t *testing.T) {
	for name, log := range logs(t) {
		rng := rand.New(rand.NewPCG(1, uint64(len(log))))
		lines := slices.Collect(bytes.Lines(log))
		stops := map[int]bool{len(lines) - 1: true}
		for range 4 {
			stops[rng.IntN(len(lines))] = true
		}
		got := map[int64]*Dump{}
		l := NewLog(0)
		buf := make([]byte, 0, 256)
		for i, line := range lines {
			buf = append(buf[:0], line...) // which is the caller's, to be used again
			l.Add(buf, l.End())
			if stops[i] {
				got[l.End()] = l.Dump()
			}
			if i == len(lines)/2 {
				l = l.Fork()
			}
		}
		for end, d := range got {
			want := Parse(log[:end])
			if diff := differ(want, d); diff != "" {
				t.Errorf("%s: up to %d: %s", name, end, diff)
			}
			for _, r := range want.Reports {
				if a, b := want.Evidence(r.Offset, r.End, r.Caller, 40), d.Evidence(r.Offset, r.End, r.Caller, 40); len(a) == 0 || !slices.Equal(a, b) {
					t.Errorf("%s: %s: -Parse +Log:\n%s", name, r.Title, cmp.Diff(a, b))
				}
			}
		}
	}
}

// TestForksAreApart: what one Log reads, its fork does not, wherever they part.
func TestForksAreApart(t *testing.T) {
	for name, log := range logs(t) {
		lines := slices.Collect(bytes.Lines(log))
		cuts := []int{len(lines) / 2}
		if strings.Contains(name, "written") {
			for i := range lines {
				cuts = append(cuts, i)
			}
		}
		// In the other's lines nearly all functions, locks and units have other
		// names.
		other := slices.Collect(bytes.Lines(bytes.ReplaceAll(log, []byte("_"), []byte("x_"))))
		for _, cut := range cuts {
			one := NewLog(0)
			for _, line := range lines[:cut] {
				one.Add(line, one.End())
			}
			two := one.Fork()
			for i := range lines[cut:] {
				one.Add(lines[cut+i], one.End())
				two.Add(other[cut+i], two.End())
			}
			if diff := differ(Parse(log), one.Dump()); diff != "" {
				t.Errorf("%s: fork at line %d: %s", name, cut, diff)
			}
			if diff := differ(Parse(bytes.Join(append(lines[:cut:cut], other[cut:]...), nil)), two.Dump()); diff != "" {
				t.Errorf("%s: forked at line %d: %s", name, cut, diff)
			}
		}
	}
}

// TestLogGap: lines that are missing end the open traces, and a dump that lost
// some is not complete.
func TestLogGap(t *testing.T) {
	log := makeDump(4 << 10)
	lines := slices.Collect(bytes.Lines(log))
	at := slices.IndexFunc(lines, func(l []byte) bool { return bytes.Contains(l, []byte("futex_wait+")) })
	l, offset := NewLog(0), int64(0)
	for i, line := range lines {
		if i < at || i > at+4 {
			l.Add(line, offset)
		}
		offset += int64(len(line))
	}
	l.Add([]byte("again"), 0)
	d := l.Dump()
	lost := int64(len(bytes.Join(lines[at:at+5], nil)))
	if s := d.Sections[0]; d.Missing != lost || s.Missing != lost || s.Complete || !s.Tasks[0].Torn || s.Tasks[0].Syscall != nil || s.Tasks[1].Torn {
		t.Errorf("%d bytes missing: %d, %+v", lost, d.Missing, s)
	}
	if whole := Parse(log); d.Bytes != whole.Bytes || len(d.Sections[0].Tasks) != len(whole.Sections[0].Tasks) {
		t.Errorf("%d bytes, %d tasks", d.Bytes, len(d.Sections[0].Tasks))
	}
	if task := d.Sections[0].Tasks[0]; len(d.Evidence(task.Offset, offset, model.Caller{}, 1000)) != len(lines)-2-5 {
		t.Error("evidence across the gap")
	}
}

// TestLogKeepsBothEnds: the text is bounded, what is parsed is not.
func TestLogKeepsBothEnds(t *testing.T) {
	const limit = 1 << 20
	l := NewLog(limit)
	var first *Dump
	for i := range 200_000 {
		l.Add(fmt.Appendf(nil, "[%5d.000000] line %d\r\n", i/1000, i), l.End())
		if i == 1000 {
			first = l.Dump()
		}
	}
	d := l.Dump()
	if l.text.kept > limit || l.text.kept < limit-2*pieceSize || d.Bytes != l.End() || d.Records != 200_000 {
		t.Errorf("%d bytes kept of %d, %d records", l.text.kept, d.Bytes, d.Records)
	}
	for _, want := range []struct {
		off, end int64
		line     string
	}{{0, 30, "line 0"}, {limit / 4, limit/4 + 60, "line "}, {d.Bytes / 2, d.Bytes/2 + 100, ""}, {d.Bytes - 28, d.Bytes, "line 199999"}} {
		got := strings.Join(d.Evidence(want.off, want.end, model.Caller{}, 2), "\n")
		if !strings.Contains(got, want.line) || want.line == "" && got != "" {
			t.Errorf("%d..%d: %q", want.off, want.end, got)
		}
	}
	if !l.Contains([]byte("line 199999")) || !l.Contains([]byte("line 7\r")) || l.Contains([]byte("line 100000")) {
		t.Error("Contains")
	}
	if got := first.Evidence(first.Bytes-26, first.Bytes, model.Caller{}, 1); len(got) != 1 || !strings.HasSuffix(got[0], "line 1000") {
		t.Errorf("an earlier Dump lost its text: %q", got)
	}
}

func BenchmarkLogStateDump(b *testing.B) {
	log := makeDump(50 << 20)
	b.SetBytes(int64(len(log)))
	b.ReportAllocs()
	for b.Loop() {
		l := NewLog(0)
		for line := range bytes.Lines(log) {
			l.Add(line, l.End())
		}
		if d := l.Dump(); len(d.Sections) != 1 || !d.Sections[0].Complete {
			b.Fatal("dump not read")
		}
	}
}

// BenchmarkLogDump is what one look at a long console costs.
func BenchmarkLogDump(b *testing.B) {
	l := NewLog(0)
	l.Add(makeDump(50<<20), 0)
	b.ReportAllocs()
	for b.Loop() {
		l.Dump()
	}
}
