package session

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/harness/bisect"
	"github.com/unwedge/unwedge/harness/internal/bisect/trial"
	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/plan"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/scenarios"
)

// failed is a run that hung.
func failed() *result.Result {
	return &result.Result{
		Outcome: scenarios.Hung, Dir: "/runs/bad", Scenario: scenarios.Scenario{Name: "tiny/x86_64"},
		Diagnosis: &result.Diagnosis{Title: "hang: notes_wait", Signature: "hang/notes_wait"},
	}
}

// tree makes a repository with a tag v1, and a mailbox with a patch on it.
func tree(t *testing.T) (dir, mbox string) {
	t.Helper()
	git, err := exec.LookPath("git")
	if err != nil {
		t.Skip("git is not installed")
	}
	dir = t.TempDir()
	run := func(args ...string) string {
		cmd := exec.CommandContext(t.Context(), git, append([]string{"-C", dir, "-c", "user.name=demo", "-c", "user.email=demo@example.org"}, args...)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	write := func(text string) {
		if err := os.WriteFile(filepath.Join(dir, "f.c"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		run("add", "-A")
	}
	run("init", "-q")
	write("one\n")
	run("commit", "-q", "-m", "one")
	run("tag", "v1")
	write("two\n")
	run("commit", "-q", "-m", "f: say two")
	mbox = filepath.Join(t.TempDir(), "s.mbox")
	if err := os.WriteFile(mbox, []byte(run("format-patch", "--stdout", "v1")), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir, mbox
}

func trying(t *testing.T) (Session, Trial) {
	dir, mbox := tree(t)
	s := Session{Planner: &plan.Planner{State: t.TempDir()}, Say: func(string) {}}
	return s, Trial{Runs: []*result.Result{failed()}, Tree: dir, Rev: "v1", Patch: mbox, Confidence: 0.95, Boots: 100, DryRun: true}
}

// nothingLeft checks that no work tree is left, on the disk and in git's list.
func nothingLeft(t *testing.T, s Session, dir string) {
	t.Helper()
	if left, _ := filepath.Glob(filepath.Join(s.Planner.State, "try", "*", "tree")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	out, err := exec.CommandContext(context.Background(), "git", "-C", dir, "worktree", "list").Output()
	if err != nil || strings.Count(string(out), "\n") != 1 {
		t.Errorf("%v: %s", err, out)
	}
}

func TestTryDryRun(t *testing.T) {
	s, asked := trying(t)
	r, err := s.Try(t.Context(), asked)
	if err != nil || r.Verdict != trial.Planned || r.Need != 5 || len(r.Patches) != 1 || r.Patches[0] != "f: say two" || r.Before != (trial.Seen{Failed: 1, Boots: 1}) {
		t.Errorf("%v: %+v", err, r)
	}
	nothingLeft(t, s, asked.Tree)
	asked.Rev = "HEAD" // it has the patch already
	r, err = s.Try(t.Context(), asked)
	if err != nil || r.Verdict != trial.Rejects || len(r.Rejected) != 1 || r.Rejected[0].File != "f.c" {
		t.Errorf("%v: %+v", err, r)
	}
	nothingLeft(t, s, asked.Tree)
}

func TestTryLeavesNothingWhenInterrupted(t *testing.T) {
	s, asked := trying(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("interrupted")
	s.Planner.State = filepath.Join(s.Planner.State, "x")
	cancel(stop)
	if _, err := s.Try(ctx, asked); !errors.Is(err, stop) {
		t.Errorf("%v", err)
	}
	nothingLeft(t, s, asked.Tree)
}

func TestTryRefuses(t *testing.T) {
	s, good := trying(t)
	other := failed()
	other.Kernel.SHA256 = "1"
	fine := failed()
	fine.Expected = true
	for want, change := range map[string]func(*Trial){
		"--tree, --rev and --patch": func(a *Trial) { a.Rev = "" },
		"use a value between 0.5":   func(a *Trial) { a.Confidence = 1 },
		"--boots 0":                 func(a *Trial) { a.Boots = 0 },
		"did not fail":              func(a *Trial) { a.Runs = []*result.Result{fine} },
		"is no repeat of":           func(a *Trial) { a.Runs = append(a.Runs, other) },
		"no such file: save the":    func(a *Trial) { a.Patch = "/nowhere" },
		"nosuch":                    func(a *Trial) { a.Rev = "nosuch" },
		"is not a git repository":   func(a *Trial) { a.Tree = t.TempDir() },
	} {
		a := good
		change(&a)
		_, err := s.Try(t.Context(), a)
		if err == nil || !strings.Contains(err.Error(), want) || !errors.As(err, new(usage.Error)) {
			t.Errorf("%v, not %q", err, want)
		}
	}
	nothingLeft(t, s, good.Tree)
}

func TestTwoTriesOfOneTree(t *testing.T) {
	dir := t.TempDir()
	unlock, err := alone(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := alone(dir); err == nil || !strings.Contains(err.Error(), "another `unwedge try`") {
		t.Errorf("%v", err)
	}
	unlock()
	if unlock, err = alone(dir); err != nil {
		t.Fatal(err)
	}
	unlock()
}

func TestBootsUntilTheAnswerIsThere(t *testing.T) {
	good := bisect.Boot{Outcome: "booted", Expected: true}
	same := bisect.BootOf(failed())
	same.Dir = ""
	other := bisect.Boot{Outcome: "panicked", Title: "kernel panic: x", Signature: "panic/x"}
	slow := bisect.Boot{Outcome: string(scenarios.Slow)}
	for _, tt := range []struct {
		name  string
		runs  []*result.Result
		boots []bisect.Boot // the last goes on
		most  int
		want  trial.Verdict
		took  int
		tag   string
	}{
		{"gone after one failure", []*result.Result{failed()}, []bisect.Boot{good}, 100, trial.Fixed, 5, "without the series 1 of 1 boots end with"},
		{"gone after three", []*result.Result{failed(), failed(), failed()}, []bisect.Boot{good}, 100, trial.Fixed, 3, "none of 3 does (97.2 % sure)"},
		{"there still", []*result.Result{failed()}, []bisect.Boot{good, good, same}, 100, trial.NotFixed, 3, ""},
		{"another one", []*result.Result{failed()}, []bisect.Boot{good, other}, 100, trial.Another, 2, ""},
		{"too few boots", []*result.Result{failed()}, []bisect.Boot{good}, 4, trial.Open, 4, ""},
		{"slow boots are made again", []*result.Result{failed()}, []bisect.Boot{slow, good}, 100, trial.Fixed, 5, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, want := Trial{Runs: tt.runs, Confidence: 0.95, Boots: tt.most}.begin()
			n := 0
			err := Session{Say: func(string) {}}.until(tt.most, r, want, func() (bisect.Boot, error) {
				n++
				return tt.boots[min(n, len(tt.boots))-1], nil
			})
			if r.Verdict == trial.Fixed {
				r.Tag("Demo <demo@example.org>")
			}
			if err != nil || r.Verdict != tt.want || r.After.Boots != tt.took || !strings.Contains(r.Tested, tt.tag) {
				t.Errorf("%v: %+v", err, r)
			}
			if (r.Tested != "") != (tt.want == trial.Fixed) {
				t.Errorf("tag %q", r.Tested)
			}
		})
	}
}
