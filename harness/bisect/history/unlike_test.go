package history_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/unwedge/unwedge/harness/bisect/history"
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

// git must not outlive the program that runs it: a bisection that is killed and
// started again uses the same work tree.
func TestGitEndsWithItsProgram(t *testing.T) {
	if place := os.Getenv("HISTORY_TEST_OPEN"); place != "" {
		_, _ = history.Open(t.Context(), place)
		return
	}
	place := t.TempDir()
	started := filepath.Join(place, "started")
	// The fake leaves its number and waits, as a long checkout does.
	fake := "#!/bin/sh\necho $$ > " + started + ".new && mv " + started + ".new " + started + "\nexec sleep 60\n"
	if err := os.WriteFile(filepath.Join(place, "git"), []byte(fake), 0o755); err != nil {
		t.Fatal(err)
	}
	program := exec.Command(os.Args[0], "-test.run=^TestGitEndsWithItsProgram$")
	program.Env = append(os.Environ(), "HISTORY_TEST_OPEN="+place, "PATH="+place+":"+os.Getenv("PATH"))
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	wait(t, "git to start", func() bool {
		b, err := os.ReadFile(started)
		pid, _ = strconv.Atoi(strings.TrimSpace(string(b)))
		return err == nil && pid > 0
	})
	if err := program.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = program.Wait()
	defer syscall.Kill(pid, syscall.SIGKILL) //nolint:errcheck // it should be gone
	wait(t, "git to end", func() bool { return gone(pid) })
}

// What git has started ends with it when a bisection is interrupted.
func TestGitEndsWhole(t *testing.T) {
	place := t.TempDir()
	started := filepath.Join(place, "started")
	fake := "#!/bin/sh\nsleep 60 &\necho $! > " + started + ".new && mv " + started + ".new " + started + "\nwait\n"
	if err := os.WriteFile(filepath.Join(place, "git"), []byte(fake), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", place+":"+os.Getenv("PATH"))
	stop := errors.New("stopped")
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := history.Open(ctx, place)
		ended <- err
	}()
	pid := 0
	wait(t, "git to start", func() bool {
		b, err := os.ReadFile(started)
		pid, _ = strconv.Atoi(strings.TrimSpace(string(b)))
		return err == nil && pid > 0
	})
	defer syscall.Kill(pid, syscall.SIGKILL) //nolint:errcheck // it should be gone
	cancel(stop)
	if err := <-ended; !errors.Is(err, stop) {
		t.Errorf("error %v", err)
	}
	wait(t, "git's child to end", func() bool { return gone(pid) })
}

// gone says whether a process has ended.
func gone(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err != nil || strings.Contains(string(b), ") Z ")
}

func wait(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// A repository that may not be written to, somebody else's or on a disk that is
// read-only, gives its commits all the same. That it may not is shown by a file where
// git wants a directory: the super-user may write anywhere.
func TestReadOnlyRepository(t *testing.T) {
	dir, run := repo(t)
	if err := os.WriteFile(filepath.Join(dir, ".git", "worktrees"), nil, 0o444); err != nil {
		t.Fatal(err)
	}
	r := open(t, dir)
	g, err := r.Between(t.Context(), []string{"v0"}, "v5")
	if err != nil {
		t.Fatal(err)
	}
	before := run("for-each-ref")
	place := filepath.Join(t.TempDir(), "tree")
	for range 2 { // the second takes over what the first has left
		w, err := r.Worktree(t.Context(), place, g.Bad())
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range g.Commits {
			if err := w.Checkout(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			if want := run("ls-tree", "--name-only", c.Hash); want == "" {
				t.Fatalf("%s has no files", c)
			}
			for name := range strings.Lines(run("ls-tree", "--name-only", c.Hash)) {
				if _, err := os.Stat(filepath.Join(place, strings.TrimSpace(name))); err != nil {
					t.Errorf("%s: %v", c, err)
				}
			}
		}
	}
	w, err := r.Worktree(t.Context(), place, g.Bad())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Remove(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(place); !os.IsNotExist(err) {
		t.Errorf("the work tree is still there: %v", err)
	}
	if after := run("for-each-ref"); after != before {
		t.Errorf("references %q, were %q", after, before)
	}
}
