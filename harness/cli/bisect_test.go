package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/unwedge/unwedge/harness/bisect"
	"github.com/unwedge/unwedge/harness/bisect/commits"
	"github.com/unwedge/unwedge/harness/bisect/history"
	"github.com/unwedge/unwedge/harness/report"
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

// Every mistake with ends and sources is said in one line, before anything is
// built, with the exit code for bad input.
func TestBisectBadUsage(t *testing.T) {
	git, err := exec.LookPath("git")
	if err != nil {
		t.Skip("git is not installed")
	}
	isolated(t)
	if err := os.MkdirAll("bin", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(git, filepath.Join("bin", "git")); err != nil {
		t.Fatal(err)
	}
	repo := gitRepo(t, git)
	for _, c := range []struct {
		args  []string
		words []string
	}{
		{[]string{"--good", "v1", "--bad", "v2"}, []string{"use one of --tree and --packages"}},
		{[]string{"--tree", repo, "--packages", "x", "--good", "v1", "--bad", "v2"}, []string{"use one of --tree and --packages"}},
		{[]string{"--tree", repo, "--good", "v1"}, []string{"--good and --bad are needed"}},
		{[]string{"--tree", repo, "--bad", "v2"}, []string{"--good and --bad are needed"}},
		{[]string{"--tree", repo, "--good", "v1", "--bad", "v2", "--confidence", "99"}, []string{"--confidence 99", "between 0 and 1"}},
		{[]string{"--tree", repo, "--good", "v1", "--bad", "v2", "--retries", "-1"}, []string{"--retries -1"}},
		{[]string{"--tree", repo, "--good", "v1", "--bad", "v2", "-s", "nope"}, []string{`"nope"`}},
		{[]string{"--tree", repo, "--good", "v1", "--bad", "v2", "--arch", "mips"}, []string{"mips"}},
		{[]string{"--tree", repo, "--good", "v1", "--bad", "v2", "--fragment", "nope"}, []string{`fragment "nope"`, "console"}},
		{[]string{"--tree", repo, "--good", "v1", "--bad", "v2", "--config", "./nope.config"}, []string{`configuration "./nope.config": no such file`}},
		{[]string{"--tree", repo, "--good", "v1", "--bad", "v2", "--config", repo}, []string{"a directory", ".config"}},
		{[]string{"--tree", repo, "--good", "v2", "--bad", "v1"}, []string{"swap --good and --bad"}},
		{[]string{"--tree", repo, "--good", "v1", "--bad", "v3"}, []string{`revision "v3" is not in`}},
		{[]string{"--tree", repo, "--good", "v1", "--bad", "v1"}, []string{"the same commit"}},
		{[]string{"--tree", "bin", "--good", "v1", "--bad", "v2"}, []string{"is not a git repository"}},
		{[]string{"--tree", "nope", "--good", "v1", "--bad", "v2"}, []string{"--tree nope: no such directory", "mainline"}},
		{[]string{"--tree", "./nope/x", "--good", "v1", "--bad", "v2"}, []string{"no such file"}},
		{[]string{"--packages", "./nope/*.deb", "--good", "1", "--bad", "2"}, []string{"no such file"}},
		{[]string{"--packages", "dir:bin", "--good", "1", "--good", "2", "--bad", "3"}, []string{"one good end"}},
		{[]string{"--tree", repo, "--good", "v1", "--bad", "v2", "--headers", "x"}, []string{"--headers"}},
		{[]string{"--tree", repo, "--good", "v1", "--bad", "v2", "-s", "module"}, []string{"scenario module", "--packages"}},
		{[]string{"--tree", repo, "--good", "v1", "--bad", "v2", "-o", "bin"}, []string{"--out", "bin has files that are no bisection's"}},
		{[]string{"something", "--tree", repo}, []string{"something"}},
	} {
		r := unwedge(t, "", append([]string{"bisect"}, c.args...)...)
		if r.code != exitUsage || r.stdout != "" {
			t.Errorf("%v: exit code %d, stdout %q, stderr %q", c.args, r.code, r.stdout, r.stderr)
		}
		onlyLine(t, r, c.words...)
	}
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

// git takes 1 to 127 for bad, but for 125: no mistake may end in one of them.
func TestBisectRunSaysNoVerdictByMistake(t *testing.T) {
	isolated(t)
	write(t, "good.json", []byte(`{"schema":"unwedge/result/1","outcome":"booted","expected":true}`))
	write(t, "torn.json", []byte(`{"schema":`))
	for _, args := range [][]string{
		{"--nonsense"}, {"a", "b"}, {"--tries", "0"}, {"--tries", "x"}, {"-s", "nope"}, {"--arch", "mips"}, {"--fragment", "nope"},
		{"--like", "good.json"}, {"--like", "torn.json"}, {"--accel", "nope"}, {"-j", "-1"}, {"--memory", "1"},
		{"."}, // no kernel tree here
	} {
		r := unwedge(t, "", append([]string{"bisect", "run"}, args...)...)
		if r.code != gitStop {
			t.Errorf("%v: exit code %d, want %d: %s", args, r.code, gitStop, r.stderr)
		}
		onlyLine(t, r)
	}
}

// A crash of this program is no verdict either: it ends by a signal, which git bisect run
// sees as a code above 128.
func TestBisectRunSaysNoVerdictByCrash(t *testing.T) {
	const crash = "UNWEDGE_TEST_CRASH"
	if os.Getenv(crash) != "" {
		noVerdictByCrash()
		panic("crash")
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env, cmd.Dir = append(os.Environ(), crash+"=1"), t.TempDir()
	err := cmd.Run()
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() {
		t.Errorf("it ends with %v, want a signal", err)
	}
}

// What --like names must be there: every failure would be unlike a file that is not, and
// each of them a skip.
func TestLikeIsAFileOrASignature(t *testing.T) {
	isolated(t)
	for _, arg := range []string{"bad.json", "runs/bad.json", "/nowhere/result.json", ".", "hang", "hang/"} {
		if b, err := likeOf(arg); err == nil || !strings.Contains(err.Error(), "no such file, and no signature") {
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
	if got := ofBases(good, bases).Error(); !strings.Contains(got, "stands for v6.1.9,") || exitCode(bisectError(ofBases(good, bases), "d")) != exitUsage {
		t.Error(got)
	}
	if ofBases(good, nil).Error() != good.Reason || ofBases(good, bases[1:]).Error() != good.Reason || ofBases(bad, bases).Error() != bad.Reason {
		t.Error("a merge base is named where there is none, where it is not what fails, or where the bad end is to blame")
	}
	if err := bisectError(errInterrupted, "/bis"); exitCode(err) != exitInterrupted || !strings.Contains(err.Error(), "the same command goes on where it was (/bis)") {
		t.Error(err)
	}
}

// What a commit's subject says to a terminal is not said to it by JSON either, and is
// read back as it was.
func TestJSONIsSafeForATerminal(t *testing.T) {
	subject := "a\x1b[2J\x7f\u009b31m\u202e\U000e0041ä→"
	var b strings.Builder
	if err := report.JSON(&b, bisect.Candidate{About: subject}); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(b.String(), "\x1b\x7f\u009b\u202e\U000e0041") || !strings.Contains(b.String(), "ä→") {
		t.Errorf("printed: %q", b.String())
	}
	var got bisect.Candidate
	if err := json.Unmarshal([]byte(b.String()), &got); err != nil || got.About != subject {
		t.Errorf("read back: %q, %v", got.About, err)
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

// Each error of a bisection has its exit code, and says once what to do.
func TestBisectErrors(t *testing.T) {
	full := fmt.Errorf("write journal: %w", syscall.ENOSPC)
	for _, c := range []struct {
		err  error
		code int
		says string
	}{
		{&bisect.EndsError{Reason: "it boots"}, exitUsage, "it boots"},
		{&bisect.NotOursError{Dir: "/d"}, exitUsage, "--out"},
		{&bisect.JournalError{Dir: "/d", Reason: "holds another bisection"}, exitUsage, "/d holds another bisection"},
		{bisect.ErrBusy, exitHarness, "wait for it"},
		{full, exitHarness, "write journal: no space left on device: make room, then run the same command again"},
		{&bisect.HarnessError{Err: full}, exitHarness, "run the same command again"},
	} {
		err := bisectError(c.err, "/bis")
		if exitCode(err) != c.code || !strings.Contains(err.Error(), c.says) || strings.Count(err.Error(), "run the same command") > 1 {
			t.Errorf("exit code %d, %v; want %d, %q", exitCode(err), err, c.code, c.says)
		}
	}
}
