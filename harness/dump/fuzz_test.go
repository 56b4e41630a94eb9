package dump

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"unicode"
)

// seed adds the start of every log of testdata and some fragments.
func seed(f *testing.F) {
	logs, _ := filepath.Glob("testdata/*/*.log")
	for _, path := range logs {
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		if i := bytes.Index(b, []byte("Show State")); i > 100 {
			b = b[i-100:]
		}
		f.Add(b[:min(len(b), 6000)])
	}
	for _, s := range []string{"", "[", "[ 1.000000", "<6>", "task:", "\x1b[", "4,5,6,", "kern  :", "task:a state:S", "\r", "[    1.000000] [", "#0:", "Jun  3 19:59:56 "} {
		f.Add([]byte(s))
	}
}

// FuzzRecords: the records cover the log in order and their text is in it.
func FuzzRecords(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, log []byte) {
		last := int64(0)
		for r := range Records(log) {
			if r.Offset < last || r.End <= r.Offset || r.End > int64(len(log)) {
				t.Fatalf("range %d..%d after %d of %d", r.Offset, r.End, last, len(log))
			}
			if len(r.Text) == 0 || !bytes.Contains(log[r.Offset:r.End], r.Text) {
				t.Fatalf("text %q is not in %q", r.Text, log[r.Offset:r.End])
			}
			if r.Level < -1 || r.Level > 7 || r.Source == "" {
				t.Fatalf("record %+v", r)
			}
			last = r.Offset
		}
	})
}

// FuzzTasks: a Dump keeps its limits, and its tasks can be asked.
func FuzzTasks(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, log []byte) {
		d := Parse(log)
		checkBounds(t, d)
		for _, k := range []SectionKind{SectionState, SectionBlocked, SectionCPUs} {
			if s, ok := d.Last(k); ok {
				for i := range s.Tasks {
					s.Tasks[i].Has("schedule")
					d.Evidence(s.Tasks[i].Offset, s.Tasks[i].End, s.Tasks[i].Caller, 10)
				}
			}
		}
	})
}

// FuzzReports: the title of a report is one line and the same each time.
func FuzzReports(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, log []byte) {
		a, b := Parse(log), Parse(log)
		checkBounds(t, a)
		if len(a.Reports) != len(b.Reports) {
			t.Fatalf("%d and %d reports", len(a.Reports), len(b.Reports))
		}
		for i := range a.Reports {
			if a.Reports[i].Title != b.Reports[i].Title {
				t.Fatalf("%q and %q", a.Reports[i].Title, b.Reports[i].Title)
			}
			for _, r := range a.Reports[i].Title {
				if !unicode.IsGraphic(r) {
					t.Fatalf("%U in %q", r, a.Reports[i].Title)
				}
			}
		}
	})
}
