package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
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
		{[]string{"--tree", repo, "--good", "v1", "--bad", "v2", "-o", "bin"}, []string{"--out", "bin has files that do not belong to a bisection"}},
		{[]string{"something", "--tree", repo}, []string{"something"}},
	} {
		r := unwedge(t, "", append([]string{"bisect"}, c.args...)...)
		if r.code != exitUsage || r.stdout != "" {
			t.Errorf("%v: exit code %d, stdout %q, stderr %q", c.args, r.code, r.stdout, r.stderr)
		}
		onlyLine(t, r, c.words...)
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
