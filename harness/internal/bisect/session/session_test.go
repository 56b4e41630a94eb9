package session

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/unwedge/unwedge/harness/bisect"
	"github.com/unwedge/unwedge/harness/internal/bisect/commits"
	"github.com/unwedge/unwedge/harness/internal/bisect/history"
	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/images/progress"
)

// gitRepo makes a repository with tags v1 and v2 and a change that is not
// committed.
func gitRepo(t *testing.T, git string) string {
	t.Helper()
	dir := t.TempDir()
	for _, args := range [][]string{
		{"init", "-q"}, {"commit", "-q", "--allow-empty", "-m", "one"}, {"tag", "v1"}, {"commit", "-q", "--allow-empty", "-m", "two"}, {"tag", "v2"},
	} {
		cmd := exec.Command(git, append([]string{"-C", dir, "-c", "user.name=a", "-c", "user.email=a@b"}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	return dir
}

// An answer that took a night is told, whatever fails after it; and what git has on the
// commit is in the report, for --json too.
func TestAnswerIsToldWhateverFails(t *testing.T) {
	git, err := exec.LookPath("git")
	if err != nil {
		t.Skip("git is not installed")
	}
	repo, err := history.Open(t.Context(), gitRepo(t, git))
	if err != nil {
		t.Fatal(err)
	}
	r, err := repo.Between(t.Context(), []string{"v1"}, "v2")
	if err != nil {
		t.Fatal(err)
	}
	src := &commits.Source{Repo: repo, Range: r, Dir: filepath.Join(t.TempDir(), "of mine")}
	if err := os.Mkdir(src.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	first := src.Candidates()[0]
	rep := &bisect.Report{First: &first}
	finishTree(t.Context(), src, rep)
	if c := rep.Commit; c == nil || c.Author != "a <a@b>" || c.Fixes != fmt.Sprintf("Fixes: %s (\"two\")", first.ID[:12]) || c.After != "v2" || len(rep.Notes) > 0 {
		t.Errorf("commit %+v, notes %q", c, rep.Notes)
	}
	if want := "git bisect replay '" + filepath.Join(src.Dir, bisectLog) + "'"; rep.Replay != want { // to copy and paste
		t.Errorf("replay %q", rep.Replay)
	}

	src.Dir = filepath.Join(t.TempDir(), "gone", "file")
	first.ID = strings.Repeat("0", 40) // a commit that is gone
	rep = &bisect.Report{First: &first}
	src.Range.Commits[0].Hash = first.ID
	finishTree(t.Context(), src, rep)
	if len(rep.Notes) != 2 || rep.Replay != "" || rep.First == nil {
		t.Errorf("notes %q", rep.Notes)
	}
}

// What --like names must be there: every failure would be unlike a file that is not, and
// each of them a skip.
func TestLikeIsAFileOrASignature(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, arg := range []string{"bad.json", "runs/bad.json", "/nowhere/result.json", ".", "hang", "hang/"} {
		if b, err := likeOf(arg); err == nil || !strings.Contains(err.Error(), "neither a file nor a signature") {
			t.Errorf("--like %s: %+v, %v", arg, b, err)
		}
	}
	const signature = "hang/entropy-starvation/init-blocked-in-wait_for_random_bytes-getrandom"
	if b, err := likeOf(signature); err != nil || b.Signature != signature {
		t.Errorf("%+v, %v", b, err)
	}
}

// A host under load makes a boot slow, which git bisect run must not be told of as a
// bad commit; a commit that makes every boot slow is.
func TestSlowBootsAreMadeAgain(t *testing.T) {
	slow, good := bisect.Boot{Outcome: "slow"}, bisect.Boot{Outcome: "booted", Expected: true}
	for _, c := range []struct {
		name        string
		want        bisect.Boot
		boots       []bisect.Boot
		made        int
		wantOutcome string
	}{
		{"good at once", bisect.Boot{}, []bisect.Boot{good}, 1, "booted"},
		{"slow, then good", bisect.Boot{}, []bisect.Boot{slow, good}, 2, "booted"},
		{"always slow", bisect.Boot{Outcome: "hung", Signature: "x"}, []bisect.Boot{slow, slow, slow, good}, 3, "slow"},
		{"slowness is looked for", slow, []bisect.Boot{slow, good}, 1, "slow"},
	} {
		made := 0
		b, err := decided(c.want, func() (bisect.Boot, error) { made++; return c.boots[made-1], nil })
		if err != nil || made != c.made || b.Outcome != c.wantOutcome {
			t.Errorf("%s: %d boots, %s, %v", c.name, made, b.Outcome, err)
		}
	}
}

func TestAMergeBaseFails(t *testing.T) {
	good, bad := &bisect.EndsError{Reason: "it fails", Good: "base"}, &bisect.EndsError{Reason: "it boots"}
	bases := []history.Base{{Hash: "base", Revision: "v6.1.9"}, {Hash: "other", Revision: "v6.2.3"}}
	if got := ofBases(good, bases).Error(); !strings.Contains(got, "a merge base of v6.1.9,") || !errors.As(explained(ofBases(good, bases), "d"), new(usage.Error)) {
		t.Error(got)
	}
	if ofBases(good, nil).Error() != good.Reason || ofBases(good, bases[1:]).Error() != good.Reason || ofBases(bad, bases).Error() != bad.Reason {
		t.Error("a merge base is named where there is none, where it is not what fails, or where the bad end is to blame")
	}
	if err := explained(progress.ErrInterrupted, "/bis"); !errors.Is(err, progress.ErrInterrupted) || !strings.Contains(err.Error(), "the same command continues where it stopped (/bis)") {
		t.Error(err)
	}
}

// A boot that does not fit the answer is not passed over in silence.
func TestDoubts(t *testing.T) {
	first := bisect.Candidate{ID: "b", Name: "b"}
	rep := &bisect.Report{First: &first, Tallies: []bisect.Tally{
		{Candidate: bisect.Candidate{Name: "a"}, Good: 8, Bad: 1}, {Candidate: first, HasFirst: true, Bad: 9},
	}}
	asked := bisect.Options{Intermittent: true}
	if got := doubts(rep, asked); len(got) != 1 || !strings.Contains(got[0], "a failed in 1 of 9 boots") {
		t.Errorf("a boot that misled: %q", got)
	}
	rep.Tallies[0].Bad = 0
	if got := doubts(rep, asked); len(got) != 0 {
		t.Errorf("all fits: %q", got)
	}
}

// Each error of a bisection says once what to do.
func TestBisectErrors(t *testing.T) {
	full := fmt.Errorf("write journal: %w", syscall.ENOSPC)
	for _, c := range []struct {
		err   error
		usage bool
		says  string
	}{
		{&bisect.EndsError{Reason: "it boots"}, true, "it boots"},
		{&bisect.NotOursError{Dir: "/d"}, true, "--out"},
		{&bisect.JournalError{Dir: "/d", Reason: "holds another bisection"}, true, "/d holds another bisection"},
		{bisect.ErrBusy, false, "wait for it"},
		{full, false, "write journal: no space left on device: free some space, then run the same command again"},
		{&bisect.HarnessError{Err: full}, false, "run the same command again"},
	} {
		err := explained(c.err, "/bis")
		if errors.As(err, new(usage.Error)) != c.usage || !strings.Contains(err.Error(), c.says) || strings.Count(err.Error(), "run the same command") > 1 {
			t.Errorf("%v; want %q, wrong use: %v", err, c.says, c.usage)
		}
	}
}
