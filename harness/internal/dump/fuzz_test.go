package dump

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/unwedge/unwedge/harness/internal/console"
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

// FuzzLine: each of the parsers that read one line, by itself.
func FuzzLine(f *testing.F) {
	seed(f)
	for _, s := range []string{
		"task:demo0           state:D stack:0     pid:308   tgid:308   ppid:2      task_flags:0x0140 flags:0x0000000a",
		"mount           D ffff911e2b64e2a0     0 61208      1 0x00000084", "rcu_sched       I15016    11      2 0x80004000",
		"CPU: 1 UID: 0 PID: 90 Comm: busybox Not tainted", "Pid: 1, comm: init", " ? fn.isra.0+0x12/0x34 [mod abc]", "[<c0>] (fn) from [<c0>] (gn+0x1/0x2)",
		"<ffffffff80123456>{:mod:fn+12} <f>{gn+34}", " fn (dir/file.c:12 file.c:34)", "RSP: 002b:00007ffd EFLAGS: 00000246 ORIG_RAX: 000000000000013e",
		"4,4955,12879198184,-,caller=T1;text", "kern  :alert : [    1.0] x", "2024-06-03T19:59:56.123456+02:00 host kernel: x", "[Mon Jun  3 19:59:56 2024] x",
		"#0: ffff888004d5a0e0 (&type->s_umount_key#31){++++}-{3:3}, at: super_lock+0x1f/0x30", "comm:1 <reader> blocked on an rw-semaphore likely owned by task a:b:2 <writer>.",
		"0xffff888004d5a0e0 at fs/x.c:12 fn+0x1/0x2 exitcode=0x0000000b", "data-race in a / b", "stack-protector: Kernel stack is corrupted in: fn+0x1/0x2",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		b = b[:min(len(b), MaxRecord)]
		if out := console.Strip(b); bytes.IndexByte(out, 0x1b) >= 0 || len(out) > len(b) {
			t.Fatalf("%q", out)
		}
		if s := clip(b); len(s) > 3*300 || !utf8.ValidString(s) {
			t.Fatalf("%q", s)
		}
		if s := printable(string(b)); !utf8.ValidString(s) || strings.ContainsAny(s, "\n\x1b\x00") {
			t.Fatalf("%q", s)
		}
		if len(b) == 0 {
			return
		}
		var r Record
		if n, _ := parsePrefix(b, &r); n < 0 || n > len(b) {
			t.Fatalf("a prefix of %d in %d", n, len(b))
		}
		if n := nextStamp(b); n <= 0 || n > len(b) {
			t.Fatalf("a stamp at %d in %d", n, len(b))
		}
		if h, ok := parseHeader(b); ok && (len(h.comm) == 0 || len(h.comm) > maxComm || h.pid < 0 || h.ppid < 0 || h.tgid < 0) {
			t.Fatalf("header %+v", h)
		}
		if fr, ok := parseFrame(b); ok && (len(fr.fn) == 0 || !bytes.Contains(b, fr.fn)) {
			t.Fatalf("frame %+v", fr)
		}
		if got := parseOddFrames(b, nil); len(got) > 17 {
			t.Fatalf("%d frames", len(got))
		}
		if c, ok := parseCPULine(b); ok && (c.pid < 0 || len(c.comm) > maxComm) {
			t.Fatalf("CPU line %+v", c)
		}
		ipSymbol(b)
		isUserTag(b)
		new(userRegs).line(b)
		s := Normalise(string(b))
		if again := Normalise(s); len(again) > len(s)+len(s)/2 {
			t.Fatalf("%q, then %q", s, again)
		}
		for _, k := range []ReportKind{ReportPanic, ReportOops, ReportBug, ReportWarning, ReportKASAN, ReportLockdep, ReportHungTask} {
			if title := printable(titleOf(&Report{Kind: k, Text: clip(b)}, "")); len(title) > 2*maxTitle {
				t.Fatalf("%q", title)
			}
		}
	})
}
