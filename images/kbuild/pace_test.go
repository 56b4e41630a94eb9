package kbuild

import (
	"path/filepath"
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		done, total int
		after       time.Duration
		want        string
	}{
		{0, 0, 0, "0 steps"},
		{17, 0, time.Minute, "17 steps"},
		{10, 1000, time.Minute, "10 of about 1000 steps, 1%"},
		{250, 1000, 5 * time.Minute, "250 of about 1000 steps, 25%, 15m left"},
		{990, 1000, 99 * time.Second, "990 of about 1000 steps, 99%, 1s left"},
		{1001, 1000, time.Hour, "1001 steps"}, // the total was no good
	} {
		if got := (pace{start, c.total}).text(c.done, start.Add(c.after)); got != c.want {
			t.Errorf("%d of %d: %q, want %q", c.done, c.total, got, c.want)
		}
	}
}

func TestCountsAreKept(t *testing.T) {
	file := filepath.Join(t.TempDir(), "steps.json")
	readCounts(file).keep(file, "a", 10)
	readCounts(file).keep(file, "b", 20)
	if c := readCounts(file); c["a"] != 10 || c["b"] != 20 || len(c) != 2 {
		t.Errorf("%v", c)
	}
	readCounts("").keep("", "a", 1) // no file: nothing happens
	a, b := Spec{Config: "defconfig"}, Spec{Config: "defconfig", NoModules: true}
	if a.kind() == b.kind() {
		t.Errorf("with and without modules are one kind: %s", a.kind())
	}
}

// lastNote is a task that keeps the last note.
type lastNote struct{ text string }

func (*lastNote) Add(int64)          {}
func (n *lastNote) Note(line string) { n.text = line }
func (*lastNote) Done(error)         {}

func TestTheScannerShowsHowFarItIs(t *testing.T) {
	n := &lastNote{}
	s := newScanner(n, pace{time.Now(), 4})
	if _, err := s.Write([]byte("  CC      init/main.o\n  LD [M]  fs/ext4/ext4.ko\n")); err != nil {
		t.Fatal(err)
	}
	if want := "2 of about 4 steps, 50%: LD [M] fs/ext4/ext4.ko"; n.text != want {
		t.Errorf("%q, want %q", n.text, want)
	}
}
