package history_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/harness/internal/bisect/history"
)

// checkOut puts a revision into a work tree and returns the tree.
func checkOut(t *testing.T, r *history.Repo, place, rev string) {
	t.Helper()
	c, err := r.Commit(t.Context(), rev)
	if err != nil {
		t.Fatal(err)
	}
	w, err := r.Worktree(t.Context(), place, c)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Checkout(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

// What a user has configured for the work of a day must not decide what is built:
// a sparse checkout, submodules, other line endings, a file system monitor.
func TestCheckoutHasTheWholeCommit(t *testing.T) {
	dir, run := repo(t)
	run("update-index", "--add", "--cacheinfo", "160000,"+run("rev-parse", "v1")+",sub")
	if err := os.WriteFile(filepath.Join(dir, ".gitmodules"), []byte("[submodule \"sub\"]\n\tpath = sub\n\turl = ../nowhere\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "script"), []byte("#!/bin/sh\nexit 0\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	run("add", ".gitmodules", "script")
	run("commit", "-qm", "a submodule and a script")
	run("tag", "v6")
	for _, kv := range [][]string{
		{"core.autocrlf", "true"}, {"submodule.recurse", "true"}, {"submodule.sub.url", "../nowhere"}, {"submodule.active", "."},
		{"core.sparseCheckout", "true"}, {"extensions.worktreeConfig", "true"}, {"core.fsmonitor", filepath.Join(dir, "no-such-monitor")},
	} {
		run(append([]string{"config"}, kv...)...)
	}
	run("sparse-checkout", "set", "--no-cone", "/script")
	place := filepath.Join(t.TempDir(), "tree")
	r := open(t, dir)
	checkOut(t, r, place, "v5")
	checkOut(t, r, place, "v6")
	for _, name := range []string{"0", "s2", "5", "script"} {
		if _, err := os.Stat(filepath.Join(place, name)); err != nil {
			t.Error(err)
		}
	}
	if b, err := os.ReadFile(filepath.Join(place, "script")); err != nil || strings.Contains(string(b), "\r") {
		t.Errorf("script %q, %v", b, err)
	}
}

// A work tree on a disk that is not mounted is still its user's.
func TestWorktreeLeavesOthersAlone(t *testing.T) {
	dir, run := repo(t)
	place := t.TempDir()
	run("worktree", "add", "-q", "--detach", filepath.Join(place, "theirs"), "v1")
	if err := os.Rename(filepath.Join(place, "theirs"), filepath.Join(place, "unmounted")); err != nil {
		t.Fatal(err)
	}
	r := open(t, dir)
	ours := filepath.Join(place, "ours")
	checkOut(t, r, ours, "v5")
	if err := os.RemoveAll(ours); err != nil { // by hand, behind git's back
		t.Fatal(err)
	}
	checkOut(t, r, ours, "v4")
	if list := run("worktree", "list"); !strings.Contains(list, "theirs") || strings.Count(list, "ours") != 1 {
		t.Errorf("work trees:\n%s", list)
	}
}

// A clone that lacks history must not be taken for a whole one.
func TestShallow(t *testing.T) {
	dir, _ := repo(t)
	clone := func(args ...string) string {
		to := filepath.Join(t.TempDir(), "clone")
		cmd := exec.Command("git", append(append([]string{"clone", "-q"}, args...), "file://"+dir, to)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return to
	}
	// The side branch starts at 1, which is left out.
	cut := clone("--shallow-exclude=v1", "--branch=main")
	got, err := open(t, cut).Between(t.Context(), []string{"main~3"}, "main")
	if err != nil {
		t.Fatal(err)
	}
	if got.Cut != 1 || got.Good[0].Subject != "add 2" || len(got.Commits) != 5 {
		t.Errorf("%d commits, %d of them cut off, good end %v", len(got.Commits), got.Cut, got.Good)
	}
	whole, err := open(t, dir).Between(t.Context(), []string{"v2"}, "v5")
	if err != nil || whole.Cut != 0 {
		t.Errorf("%+v %v", whole, err)
	}

	one := clone("--depth=1", "--branch=main")
	cmd := exec.Command("git", "-C", one, "fetch", "-q", "--depth=1", "origin", "tag", "v1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for good, says := range map[string]string{"v1": "git fetch --unshallow", "v2": "git fetch --unshallow"} {
		if _, err := open(t, one).Between(t.Context(), []string{good}, "main"); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("good %s: %v", good, err)
		}
	}
}

// Files of a partial clone are fetched when they are needed, which may fail.
func TestCheckoutOfPartialClone(t *testing.T) {
	dir, run := repo(t)
	run("config", "uploadpack.allowFilter", "true")
	place := t.TempDir()
	cmd := exec.Command("git", "clone", "-q", "--bare", "--filter=blob:none", "file://"+dir, filepath.Join(place, "clone"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.Rename(dir, dir+"-gone"); err != nil {
		t.Fatal(err)
	}
	r := open(t, filepath.Join(place, "clone"))
	c, err := r.Commit(t.Context(), "v5")
	if err != nil {
		t.Fatal(err)
	}
	w, err := r.Worktree(t.Context(), filepath.Join(place, "tree"), c)
	if err != nil {
		t.Fatal(err)
	}
	err = w.Checkout(t.Context(), c)
	if err == nil || !strings.Contains(err.Error(), "run the same command again") || strings.Contains(err.Error(), "\n") {
		t.Errorf("files that cannot be fetched: %v", err)
	}
}
