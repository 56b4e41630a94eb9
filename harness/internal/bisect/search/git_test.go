package search_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/harness/internal/bisect/search"
	"github.com/unwedge/unwedge/harness/internal/bisect/search/searchtest"
)

// Oracle: git itself. In repositories with merges, `git bisect run` and the search find the same commit for every possible
// culprit, and the search needs no more boots in the worst case nor in sum.
func TestAgainstGitBisectRun(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("runs git a few hundred times")
	}
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	r := random(12)
	for i, n := range []int{9, 24} {
		h := searchtest.Merges(r, n)
		in := searchtest.NewContains(h)
		repo := newRepo(t, h)
		var ours, theirs, worst, theirWorst int
		for culprit := range n {
			a, boots := find(t, h, search.Options{}, steady(in, culprit))
			found, steps := repo.bisect(t, in, culprit)
			if a.Candidate != culprit || found != culprit {
				t.Fatalf("history %d, culprit %d: the search found %d, git bisect %d", i, culprit, a.Candidate, found)
			}
			ours, theirs = ours+boots, theirs+steps
			worst, theirWorst = max(worst, boots), max(theirWorst, steps)
		}
		t.Logf("history %d of %d commits: %d boots in all and %d at most, git bisect run %d and %d", i, n, ours, worst, theirs, theirWorst)
		if ours > theirs || worst > theirWorst {
			t.Errorf("history %d: more than git bisect run", i)
		}
	}
}

type repo struct{ dir string }

// newRepo makes a git repository with the history on top of one good commit; file "n" of each commit holds its number.
func newRepo(t *testing.T, h search.History) repo {
	t.Helper()
	r := repo{dir: t.TempDir()}
	var in bytes.Buffer
	commit := func(number int, parents []int) {
		// the mark of commit c is c+2, that of the good end 1
		text := strconv.Itoa(number)
		fmt.Fprintf(&in, "commit refs/heads/main\nmark :%d\ncommitter T <t@example.org> %d +0000\ndata %d\n%s\n", number+2, 1_000_000+60*number, len(text), text)
		for i, p := range parents {
			fmt.Fprintf(&in, "%s :%d\n", []string{"from", "merge"}[min(i, 1)], p+2)
		}
		fmt.Fprintf(&in, "M 100644 inline n\ndata %d\n%s\n\n", len(text)+1, text+"\n")
	}
	commit(-1, nil)
	for c, parents := range h.Parents {
		if len(parents) == 0 {
			parents = []int{-1}
		}
		commit(c, parents)
	}
	r.git(t, nil, "init", "--quiet", "--initial-branch=main")
	r.git(t, in.Bytes(), "fast-import", "--quiet")
	r.git(t, nil, "tag", "good", r.git(t, nil, "rev-list", "--max-parents=0", "main"))
	r.git(t, nil, "checkout", "--quiet", "--detach", "main")
	return r
}

// bisect has git bisect find a culprit, and returns it and how many commits were tested.
func (r repo) bisect(t *testing.T, in searchtest.Contains, culprit int) (found, steps int) {
	t.Helper()
	var bad strings.Builder
	for c := range in {
		if in.Has(c, culprit) {
			fmt.Fprintln(&bad, c)
		}
	}
	aside := t.TempDir()
	list, log := filepath.Join(aside, "bad"), filepath.Join(aside, "log")
	if err := os.WriteFile(list, []byte(bad.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	r.git(t, nil, "bisect", "start", "main", "good")
	r.git(t, nil, "bisect", "run", "sh", "-c", `cat n >>"$1"; ! grep -qxFf n "$0"`, list, log)
	found, err := strconv.Atoi(r.git(t, nil, "show", "refs/bisect/bad:n"))
	if err != nil {
		t.Fatal(err)
	}
	r.git(t, nil, "bisect", "reset")
	tested, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	return found, bytes.Count(tested, []byte("\n"))
}

func (r repo) git(t *testing.T, stdin []byte, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir, cmd.Stdin = r.dir, bytes.NewReader(stdin)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "GIT_") })
	cmd.Env = append(cmd.Env, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CEILING_DIRECTORIES="+filepath.Dir(r.dir))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("git %s: %v\n%s%s", strings.Join(args, " "), err, out.String(), errs.String())
	}
	return strings.TrimSpace(out.String())
}
