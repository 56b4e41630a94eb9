package commits_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/harness/bisect"
)

// replayed is what git makes of the log.
func (w *world) replayed(log string) string {
	w.t.Helper()
	file := filepath.Join(w.t.TempDir(), "log")
	write(w.t, file, log)
	cmd := exec.Command("git", "-C", w.repo, "bisect", "replay", file)
	cmd.Env = append(os.Environ(), "PATH="+w.real)
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState.ExitCode() != 2 { // only skipped ones left
		w.t.Fatalf("git bisect replay: %v\n%s\n%s", err, out, log)
	}
	said := w.git("bisect", "log")
	w.git("bisect", "reset")
	return said
}

// step is one of a bisection's; a boot's outcome is of no interest here.
func (w *world) step(tag, verdict, image string) bisect.Step {
	st := bisect.Step{Candidate: bisect.Candidate{ID: w.git("rev-parse", tag)}, Verdict: verdict, Image: image}
	if verdict != bisect.Same && image != "" {
		st.Boot = &bisect.Boot{Outcome: verdict}
	}
	return st
}

// merged is a history 0-1-2-M-3-4 with a side branch 1-s1-s2 merged in M.
func merged(t *testing.T) *world {
	w := newWorld(t)
	for _, tag := range []string{"0", "1"} {
		w.commit(tag, files{"f": tag})
	}
	w.git("checkout", "-q", "-b", "side")
	w.commit("s1", files{"g": "1"})
	w.commit("s2", files{"g": "2"})
	w.git("checkout", "-q", "main")
	w.commit("2", files{"f": "2"})
	w.git("merge", "-q", "--no-ff", "-m", "change M", "-s", "ours", "side")
	w.git("tag", "M")
	w.commit("3", files{"f": "3"})
	w.commit("4", files{"f": "4"})
	return w
}

func TestLog(t *testing.T) {
	w := merged(t)
	first := func(tag string) *bisect.Candidate { return &bisect.Candidate{ID: w.git("rev-parse", tag)} }
	for _, tc := range []struct {
		name  string
		steps []bisect.Step
		first string
		not   []string // tags whose word does not count
	}{
		{"on the main branch", []bisect.Step{
			w.step("4", "bad", "i4"), w.step("0", "good", "i0"), w.step("M", "good", "iM"), w.step("3", "bad", "i3"),
		}, "3", nil},
		{"a side branch", []bisect.Step{
			w.step("4", "bad", "i4"), w.step("0", "good", "i0"), w.step("2", "good", "i2"), w.step("s1", "good", "is1"), w.step("s2", "bad", "is2"),
		}, "s2", nil},
		{"the merge itself", []bisect.Step{
			w.step("4", "bad", "i4"), w.step("0", "good", "i0"), w.step("M", "bad", "iM"), w.step("2", "good", "i2"), w.step("s2", "good", "is2"),
		}, "M", nil},
		{"a skip on the way", []bisect.Step{
			w.step("4", "bad", "i4"), w.step("0", "good", "i0"), w.step("M", "skip", ""), w.step("2", "good", "i2"), w.step("s1", "skip", "is1"), w.step("s2", "good", "is2"), w.step("3", "bad", "i3"), w.step("M", "good", "iM"),
		}, "3", nil},
		{"one image of two commits", []bisect.Step{
			w.step("4", "bad", "i4"), w.step("0", "good", "i0"), w.step("3", bisect.Same, "i4"), w.step("M", bisect.Same, "i0"),
		}, "3", nil},
		{"good by chance", []bisect.Step{
			w.step("4", "bad", "i4"), w.step("0", "good", "i0"), w.step("3", "good", "i3"), w.step("M", "bad", "iM"), w.step("M", "good", "iM"), w.step("M", "bad", "iM"),
			w.step("2", "good", "i2"), w.step("2", "good", "i2"), w.step("s2", "good", "is2"),
		}, "M", []string{"3", "M"}},
		{"another failure by chance", []bisect.Step{
			w.step("4", "bad", "i4"), w.step("0", "good", "i0"), w.step("3", "skip", "i3"), w.step("3", "bad", "i3"), w.step("M", "skip", "iM"), w.step("M", "good", "iM"),
		}, "3", nil},
		{"the same image as one that failed otherwise by chance", []bisect.Step{
			w.step("4", "bad", "i4"), w.step("0", "good", "i0"), w.step("2", "skip", "iM"), w.step("2", "good", "iM"), w.step("M", bisect.Same, "iM"), w.step("3", "bad", "i3"),
		}, "3", nil},
		{"bad by chance", []bisect.Step{
			w.step("4", "bad", "i4"), w.step("0", "good", "i0"), w.step("2", "bad", "i2"), w.step("2", "good", "i2"), w.step("M", "good", "iM"), w.step("3", "bad", "i3"),
		}, "3", nil},
		{"good beside the first bad one", []bisect.Step{
			w.step("4", "bad", "i4"), w.step("0", "good", "i0"), w.step("2", "good", "i2"), w.step("s1", "bad", "is1"),
		}, "s1", nil},
		{"bad after the first bad one", []bisect.Step{
			w.step("4", "bad", "i4"), w.step("0", "good", "i0"), w.step("M", "bad", "iM"), w.step("2", "good", "i2"), w.step("s2", "good", "is2"), w.step("3", "bad", "i3"),
		}, "M", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := w.source(t.TempDir())
			log := s.Log(&bisect.Report{Steps: tc.steps, First: first(tc.first)})
			want := "# first bad commit: [" + first(tc.first).ID + "]"
			if !strings.Contains(log, want) {
				t.Errorf("log\n%s\nwant %s", log, want)
			}
			if said := w.replayed(log); !strings.Contains(said, want) {
				t.Errorf("git concludes\n%s\nfrom\n%s\nwant %s", said, log, want)
			}
			for _, tag := range tc.not {
				if hash := w.git("rev-parse", tag); strings.Contains(log, "git bisect good "+hash) || !strings.Contains(log, "# good, not counted: ["+hash+"]") {
					t.Errorf("%s counts as good:\n%s", tag, log)
				}
			}
		})
	}
}

// Where those that were skipped hide the answer, git and the log name the same
// suspects.
func TestLogOfSuspects(t *testing.T) {
	w := merged(t)
	s := w.source(t.TempDir())
	log := s.Log(&bisect.Report{
		Steps: []bisect.Step{
			w.step("4", "bad", "i4"), w.step("0", "good", "i0"), w.step("2", "good", "i2"), w.step("s2", "good", "is2"), w.step("M", "skip", ""), w.step("3", "skip", "i3"),
		},
		Suspects: []bisect.Candidate{w.candidate(s, "M"), w.candidate(s, "3"), w.candidate(s, "4")},
	})
	said := w.replayed(log)
	for _, tag := range []string{"M", "3", "4"} {
		line := "# possible first bad commit: [" + w.git("rev-parse", tag) + "] change " + tag + "\n"
		if !strings.Contains(said+"\n", line) || !strings.Contains(log, line) {
			t.Errorf("%s: git says\n%s\nthe log\n%s", tag, said, log)
		}
	}
	if strings.Count(said, "# possible") != 3 || strings.Count(log, "# possible") != 3 {
		t.Errorf("git says\n%s\nthe log\n%s", said, log)
	}
	if _, err := os.Stat(filepath.Join(w.repo, ".git", "BISECT_LOG")); err == nil {
		t.Error("the replay was not ended")
	}
}
