package history_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/harness/internal/bisect/history"
)

// repo makes a repository: 0-1-2-3-4-5, with a side branch 1-s1-s2 merged in 4,
// and a stable branch off 2.
func repo(t *testing.T) (dir string, run func(args ...string) string) {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	dir = t.TempDir()
	run = func(args ...string) string {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", dir}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1",
			"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b",
			"GIT_AUTHOR_DATE=2026-01-02T03:04:05Z", "GIT_COMMITTER_DATE=2026-01-02T03:04:05Z")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	commit := func(name string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
		run("add", name)
		run("commit", "-qm", "add "+name)
		run("tag", "v"+name)
	}
	run("init", "-q", "-b", "main")
	commit("0")
	commit("1")
	run("checkout", "-q", "-b", "side")
	commit("s1")
	commit("s2")
	run("checkout", "-q", "main")
	commit("2")
	run("checkout", "-q", "-b", "stable")
	commit("2.1")
	run("checkout", "-q", "main")
	commit("3")
	run("merge", "-q", "--no-ff", "-m", "merge side", "side")
	run("tag", "v4")
	commit("5")
	return dir, run
}

func open(t *testing.T, dir string) *history.Repo {
	t.Helper()
	r, err := history.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestBetween(t *testing.T) {
	dir, run := repo(t)
	r := open(t, dir)
	got, err := r.Between(t.Context(), []string{"v1"}, "v5")
	if err != nil {
		t.Fatal(err)
	}
	// The oracle is git's own rev-list.
	want := strings.Fields(run("rev-list", "v5", "^v1"))
	var hashes []string
	for i, c := range got.Commits {
		hashes = append(hashes, c.Hash)
		var parents []string
		for _, p := range got.Parents[i] {
			if p >= i {
				t.Errorf("commit %d has parent %d: not in topological order", i, p)
			}
			parents = append(parents, got.Commits[p].Hash)
		}
		for _, p := range strings.Fields(run("rev-list", "--parents", "-1", c.Hash))[1:] {
			if slices.Contains(want, p) != slices.Contains(parents, p) {
				t.Errorf("%s: parents %v", c, parents)
			}
		}
	}
	slices.Sort(want)
	if slices.Sort(hashes); !slices.Equal(hashes, want) {
		t.Errorf("%d commits, git lists %d", len(hashes), len(want))
	}
	if got.Bad().Subject != "add 5" || got.Bad().Author != "a <a@b>" || !strings.HasPrefix(got.Bad().Date, "2026-01-02T03:04:05") {
		t.Errorf("bad end %+v", got.Bad())
	}
	if len(got.Good) != 1 || got.Good[0].Subject != "add 1" || got.Bases != nil {
		t.Errorf("good ends %+v %v", got.Good, got.Bases)
	}
}

// A stable release is no ancestor of the next mainline one: their merge base is.
func TestBetweenBranches(t *testing.T) {
	dir, _ := repo(t)
	got, err := open(t, dir).Between(t.Context(), []string{"v2.1"}, "v5")
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Good) != 1 || got.Good[0].Subject != "add 2" || !slices.Equal(got.Bases, []history.Base{{Hash: got.Good[0].Hash, Revision: "v2.1"}}) {
		t.Errorf("good ends %+v, bases of %v", got.Good, got.Bases)
	}
}

// A merge may name one parent twice, which git's plumbing lets pass: it is one parent.
func TestBetweenParentNamedTwice(t *testing.T) {
	dir, run := repo(t)
	object := filepath.Join(t.TempDir(), "commit")
	text := fmt.Sprintf("tree %s\nparent %[2]s\nparent %[2]s\nauthor a <a@b> 1 +0000\ncommitter a <a@b> 1 +0000\n\ntwice\n", run("rev-parse", "v5^{tree}"), run("rev-parse", "v5"))
	if err := os.WriteFile(object, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := open(t, dir).Between(t.Context(), []string{"v4"}, run("hash-object", "-t", "commit", "-w", object))
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Parents) != 2 || !slices.Equal(got.Parents[1], []int{0}) {
		t.Errorf("parents %v, want the one that is named twice once", got.Parents)
	}
}

func TestBadRanges(t *testing.T) {
	dir, run := repo(t)
	run("checkout", "-q", "--orphan", "other")
	run("commit", "-qm", "other root")
	run("tag", "v9")
	r := open(t, dir)
	for _, c := range []struct{ good, bad, says string }{
		{"v5", "v1", "swap --good and --bad"},
		{"v5", "v5", "the same commit"},
		{"v9", "v5", "no common ancestor"},
		{"v1", "7", `revision "7" is not in`},
		{"v1", "5", "did you mean v5"},
		{"--all", "v5", `revision "--all" is not in`},
		{"^v1", "v5", `revision "^v1" is not in`},
		{"v1:1", "v5", `revision "v1:1" is not in`}, // a file, not a commit
	} {
		_, err := r.Between(t.Context(), []string{c.good}, c.bad)
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s..%s: %v; want %q", c.good, c.bad, err, c.says)
		}
	}
	if _, err := r.Between(t.Context(), nil, "v5"); err == nil {
		t.Error("no good end is no error")
	}
	if _, err := history.Open(t.Context(), t.TempDir()); !errors.As(err, new(*history.NotARepoError)) {
		t.Errorf("a directory without git: %v", err)
	}
}

// The user's checkout, index and bisect state stay as they are, byte for byte.
func TestWorktreeTouchesNothingElse(t *testing.T) {
	dir, run := repo(t)
	if err := os.WriteFile(filepath.Join(dir, "5"), []byte("changed, not committed"), 0o644); err != nil {
		t.Fatal(err)
	}
	r := open(t, dir)
	if dirty, err := r.Dirty(t.Context()); err != nil || !dirty {
		t.Errorf("dirty %v %v", dirty, err)
	}
	before := []string{run("rev-parse", "HEAD", "main", "side"), run("status", "--porcelain"), run("stash", "list")}
	g, err := r.Between(t.Context(), []string{"v0"}, "v5")
	if err != nil {
		t.Fatal(err)
	}
	place := filepath.Join(t.TempDir(), "sub", "tree")
	w, err := r.Worktree(t.Context(), place, g.Bad())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range g.Commits {
		if err := os.WriteFile(filepath.Join(place, "left-over.o"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := w.Checkout(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		want := run("ls-tree", "--name-only", c.Hash)
		entries, err := os.ReadDir(place)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, e := range entries {
			if e.Name() != ".git" {
				names = append(names, e.Name())
			}
		}
		if got := strings.Join(names, "\n"); got != want {
			t.Errorf("%s: files\n%s\nwant\n%s", c, got, want)
		}
	}
	after := []string{run("rev-parse", "HEAD", "main", "side"), run("status", "--porcelain"), run("stash", "list")}
	if !slices.Equal(before, after) {
		t.Errorf("before %q, after %q", before, after)
	}

	// An interrupted run's tree and lock are taken over.
	again, err := r.Worktree(t.Context(), place, g.Bad())
	if err != nil {
		t.Fatal(err)
	}
	lock := filepath.Join(dir, ".git", "worktrees", "tree", "index.lock")
	if err := os.WriteFile(lock, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := again.Checkout(t.Context(), g.Commits[0]); err != nil {
		t.Error(err)
	}
	if err := again.Remove(t.Context()); err != nil {
		t.Error(err)
	}
	if list := run("worktree", "list"); strings.Contains(list, place) {
		t.Errorf("left over: %s", list)
	}
}

// git itself must take the log.
func TestLogReplays(t *testing.T) {
	dir, run := repo(t)
	g, err := open(t, dir).Between(t.Context(), []string{"v0"}, "v5")
	if err != nil {
		t.Fatal(err)
	}
	at := func(subject string) history.Commit {
		i := slices.IndexFunc(g.Commits, func(c history.Commit) bool { return c.Subject == subject })
		return g.Commits[i]
	}
	first := at("add 3")
	log := history.Log([]history.Said{
		{Commit: g.Bad(), Word: history.Bad}, {Commit: g.Good[0], Word: history.Good},
		{Commit: at("add s2"), Word: history.Good}, {Commit: at("add 3"), Word: history.Bad},
		{Commit: at("add s1"), Word: history.Skip},
		{Commit: at("merge side"), Word: history.Good, Note: "1 of 3 boots"},
		{Commit: at("add 2"), Word: history.Good},
	}, first)
	file := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(file, []byte(log), 0o644); err != nil {
		t.Fatal(err)
	}
	if out := run("bisect", "replay", file); !strings.Contains(run("bisect", "log"), "# first bad commit: ["+first.Hash+"]") {
		t.Errorf("git does not conclude the same:\n%s\n%s", out, run("bisect", "log"))
	}
}

// The tag is what the kernel's documentation has git print, and a merge, or one that
// changes very many files, does not fill the screen.
func TestFixesAndStat(t *testing.T) {
	dir, run := repo(t)
	r := open(t, dir)
	c, err := r.Commit(t.Context(), "v3")
	if err != nil {
		t.Fatal(err)
	}
	want := run("-c", "core.abbrev=12", "log", "-1", "--pretty=Fixes: %h (\"%s\")", "v3")
	if got, err := r.Fixes(t.Context(), c); err != nil || got != want {
		t.Errorf("%q, %v; git says %q", got, err, want)
	}
	for i := range 60 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("many%d", i)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run("add", ".")
	run("commit", "-qm", "many")
	for rev, words := range map[string][]string{
		"HEAD": {"60 files changed", "..."}, "v4": {"s1", "s2", "2 files changed"}, "v3": {" 3 | 1 +", "1 file changed"},
	} {
		got, err := r.Stat(t.Context(), rev)
		if err != nil || strings.Count(got, "\n") > 30 {
			t.Errorf("%s: %d lines, %v", rev, strings.Count(got, "\n"), err)
		}
		for _, w := range words {
			if !strings.Contains(got, w) {
				t.Errorf("%s: no %q in %s", rev, w, got)
			}
		}
	}
}
