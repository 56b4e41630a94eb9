package trees

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/unwedge/unwedge/images/progress"
)

// upstream is a repository made for a test.
type upstream struct {
	t   *testing.T
	dir string
}

func newUpstream(t *testing.T) *upstream {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	u := &upstream{t, t.TempDir()}
	u.git("init", "--quiet", "--initial-branch=master")
	u.git("config", "uploadpack.allowFilter", "true")
	return u
}

func (u *upstream) git(args ...string) string {
	u.t.Helper()
	cmd := exec.Command("git", append([]string{"-C", u.dir, "-c", "user.name=Tester", "-c", "user.email=tester@example", "-c", "commit.gpgsign=false", "-c", "tag.gpgsign=false"}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull)
	out, err := cmd.CombinedOutput()
	if err != nil {
		u.t.Fatalf("git %v: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// commit adds a commit and tags it, where tag is not "", and returns its hash.
func (u *upstream) commit(tag string) string {
	u.t.Helper()
	path := filepath.Join(u.dir, "file")
	old, _ := os.ReadFile(path)
	if err := os.WriteFile(path, append(old, "line "+tag+"\n"...), 0o644); err != nil {
		u.t.Fatal(err)
	}
	u.git("add", "file")
	u.git("commit", "--quiet", "-m", "change "+tag)
	if tag != "" {
		u.git("tag", "-a", tag, "-m", tag)
	}
	return u.git("rev-parse", "HEAD")
}

func (u *upstream) url() string { return "file://" + u.dir }

// open makes a store for trees, with no configuration of this host's git.
func open(t *testing.T, c Catalogue) *Store {
	t.Helper()
	t.Setenv("GIT_CONFIG_GLOBAL", os.DevNull)
	t.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	if err := c.check(); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.TempDir(), c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// counting puts a git into PATH that logs its fetches, and fails them while the
// file fail is there and holds the number of a fetch.
func counting(t *testing.T) (count func() []string, fail string) {
	t.Helper()
	real, err := exec.LookPath("git")
	if err != nil {
		t.Skip("git is not installed")
	}
	dir := t.TempDir()
	log, fail := filepath.Join(dir, "log"), filepath.Join(dir, "fail")
	script := fmt.Sprintf(`#!/bin/sh
for a; do case $a in fetch|ls-remote) verb=$a;; +*) what=$a;; esac; done
if [ "$verb" ]; then
	echo "$verb $what" >> %[2]s
	if [ -e %[3]s ] && [ "$(grep -c fetch %[2]s)" -ge "$(cat %[3]s)" ]; then echo "fatal: unable to access 'x': Could not resolve host: git.example" >&2; exit 128; fi
fi
exec %[1]s "$@"
`, real, log, fail)
	if err := os.WriteFile(filepath.Join(dir, "git"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return func() []string {
		b, _ := os.ReadFile(log)
		_ = os.Remove(log)
		return strings.Split(strings.TrimSpace(string(b)), "\n")
	}, fail
}

func TestFetch(t *testing.T) {
	u := newUpstream(t)
	one := u.commit("v1.0")
	two := u.commit("v2.0-rc1")
	three := u.commit("")
	count, _ := counting(t)
	s := open(t, Catalogue{{Name: "mainline", URL: u.url(), Branch: "master"}})
	got, err := s.Fetch(t.Context(), "mainline", "v1.0", "v2.0-rc1", "v2.0-rc1~1", three)
	if err != nil {
		t.Fatal(err)
	}
	for rev, want := range map[string]string{"v1.0": one, "v2.0-rc1": two, "v2.0-rc1~1": one, three: three} {
		if got.Commits[rev] != want {
			t.Errorf("%s is %s, want %s", rev, got.Commits[rev], want)
		}
	}
	count()

	// What is there needs no network; a branch is looked at again.
	u.git("config", "uploadpack.allowFilter", "false")
	if _, err = s.Fetch(t.Context(), "mainline", "v1.0", "v2.0-rc1", three, three[:12]); err != nil {
		t.Fatal(err)
	}
	if calls := count(); !slices.Equal(calls, []string{""}) {
		t.Errorf("git asked the server: %q", calls)
	}
	four := u.commit("")
	if got, err = s.Fetch(t.Context(), "mainline"); err != nil || got.Commits["master"] != four {
		t.Errorf("branch is %v, %v, want %s", got, err, four)
	}
	count()
	if got, err = s.Fetch(t.Context(), "mainline", "master"); err != nil || got.Commits["master"] != four {
		t.Errorf("branch again is %v, %v", got, err)
	}
	if calls := count(); !slices.Equal(calls, []string{"ls-remote"}) {
		t.Errorf("a branch that has not moved: %q, want one look", calls)
	}
	if name, err := s.git("describe", three).Run(t.Context()); err != nil || !strings.HasPrefix(name, "v2.0-rc1-1-g") {
		t.Errorf("described as %q, %v", name, err)
	}
	refs, err := s.Refs(t.Context())
	if err != nil || len(refs) != 4 {
		t.Errorf("refs %v, %v", refs, err)
	}
}

// Files come when they are checked out, not before.
func TestFilesComeLater(t *testing.T) {
	u := newUpstream(t)
	hash := u.commit("v1.0")
	u.commit("v1.1")
	s := open(t, Catalogue{{Name: "mainline", URL: u.url(), Branch: "master"}})
	if _, err := s.Fetch(t.Context(), "mainline"); err != nil {
		t.Fatal(err)
	}
	missing, err := s.git("rev-list", "--objects", "--missing=print", hash).Run(t.Context())
	if err != nil || strings.Count(missing, "?") != 1 {
		t.Errorf("missing objects: %q, %v: want the one file", missing, err)
	}
	tree := filepath.Join(t.TempDir(), "work")
	for _, args := range [][]string{{"worktree", "add", "--quiet", "--detach", tree, hash}} {
		if _, err := s.git(args...).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := os.ReadFile(filepath.Join(tree, "file")); err != nil || string(b) != "line v1.0\n" {
		t.Errorf("file %q, %v", b, err)
	}
}

func TestBase(t *testing.T) {
	u := newUpstream(t)
	one := u.commit("v1.0")
	next := &upstream{t, filepath.Join(t.TempDir(), "next")}
	u.git("clone", "--quiet", "--no-tags", u.dir, next.dir)
	two := next.commit("next-20261120")
	s := open(t, Catalogue{{Name: "mainline", URL: u.url(), Branch: "master"}, {Name: "next", URL: next.url(), Branch: "master", Base: "mainline", Rebuilt: true}})
	got, err := s.Fetch(t.Context(), "next", "v1.0", "next-20261120")
	if err != nil || got.Commits["v1.0"] != one || got.Commits["next-20261120"] != two {
		t.Fatalf("fetched %+v, %v", got, err)
	}
	if len(got.Notes) != 1 || !strings.Contains(got.Notes[0], "v1.0 comes from tree mainline") {
		t.Errorf("notes %q: tags stay", got.Notes)
	}
	if got, err = s.Fetch(t.Context(), "next", "master"); err != nil || len(got.Notes) != 1 || !strings.Contains(got.Notes[0], "rebuilds its branches") {
		t.Errorf("fetched %+v, %v", got, err)
	}
	if _, err := s.git("merge-base", "--is-ancestor", one, two).Run(t.Context()); err != nil {
		t.Errorf("the two are not in one history: %v", err)
	}
}

// An interrupted fetch of a long history begins again at the last release that
// came whole.
func TestResume(t *testing.T) {
	u := newUpstream(t)
	for i := range 20 {
		u.commit(fmt.Sprintf("v1.%d", i))
	}
	last := u.commit("v2.0")
	u.commit("v2.1")
	count, fail := counting(t)
	s := open(t, Catalogue{{Name: "mainline", URL: u.url(), Branch: "master"}})
	if err := os.WriteFile(fail, []byte("3"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := s.Fetch(t.Context(), "mainline", "v2.0")
	var failed *FetchError
	if !errors.As(err, &failed) || failed.Tree != "mainline" || failed.URL != u.url() || !strings.Contains(err.Error(), "Could not resolve host: git.example: check the network") {
		t.Fatalf("error %v", err)
	}
	want := []string{"ls-remote ", "fetch +refs/tags/v1.5:refs/trees/mainline/tags/v1.5", "fetch +refs/tags/v1.11:refs/trees/mainline/tags/v1.11", "fetch +refs/tags/v1.17:refs/trees/mainline/tags/v1.17"}
	if calls := count(); !slices.Equal(calls, want) {
		t.Errorf("calls %q", calls)
	}
	if err := os.Remove(fail); err != nil {
		t.Fatal(err)
	}
	got, err := s.Fetch(t.Context(), "mainline", "v2.0")
	if err != nil || got.Commits["v2.0"] != last {
		t.Fatalf("fetched %v, %v", got, err)
	}
	want = []string{"ls-remote ", "fetch +refs/tags/v1.17:refs/trees/mainline/tags/v1.17", "fetch +refs/tags/v2.0:refs/trees/mainline/tags/v2.0"}
	if calls := count(); !slices.Equal(calls, want) {
		t.Errorf("calls when it goes on: %q", calls)
	}
}

func TestReference(t *testing.T) {
	u := newUpstream(t)
	u.commit("v1.0")
	clone := filepath.Join(t.TempDir(), "clone")
	u.git("clone", "--quiet", u.dir, clone)
	s := open(t, Catalogue{{Name: "mainline", URL: u.url(), Branch: "master", Reference: clone}})
	for range 2 {
		if _, err := s.Fetch(t.Context(), "mainline", "v1.0"); err != nil {
			t.Fatal(err)
		}
	}
	if packs, _ := filepath.Glob(filepath.Join(s.objects(), "pack", "*.pack")); len(packs) != 0 {
		t.Errorf("packs %v were fetched although the clone has all", packs)
	}
	if b, err := os.ReadFile(filepath.Join(s.objects(), "info", "alternates")); err != nil || strings.Count(string(b), "\n") != 1 {
		t.Errorf("alternates %q, %v", b, err)
	}
}

func TestFetchErrors(t *testing.T) {
	u := newUpstream(t)
	hash := u.commit("v7.2")
	u.commit("v7.3-rc1")
	u.git("branch", "linux-7.2.y")
	gone := "file://" + filepath.Join(t.TempDir(), "gone")
	s := open(t, Catalogue{{Name: "mainline", URL: u.url(), Branch: "master"}, {Name: "review", URL: u.url(), Versions: "linux-6.12.y"}, {Name: "moved", URL: gone, Branch: "master"}})
	for name, tc := range map[string]struct{ tree, rev, want string }{
		"no tree":      {"nope", "v7.2", `no kernel tree "nope": there are mainline, review, moved`},
		"near":         {"mainline", "v7.3", `revision "v7.3" is not in tree mainline: did you mean v7.3-rc1?`},
		"typo":         {"mainline", "linux-7.3.y", "did you mean linux-7.2.y?"},
		"unknown":      {"review", "frobnicate", "its revisions are called like linux-6.12.y"},
		"unknown hash": {"mainline", strings.Repeat("ab", 20), "is not in tree mainline"},
		"short hash":   {"mainline", "abcdef12", "give the whole hash"},
		"too far":      {"mainline", "v7.2~5", "does not go back that far"},
		"an option":    {"mainline", "--upload-pack=id", "want a tag, a branch or a commit"},
		"a range":      {"mainline", "v7.2..v7.3", "want a tag, a branch or a commit"},
		"a refspec":    {"mainline", "a:refs/heads/b", "want a tag, a branch or a commit"},
		"moved":        {"moved", "v7.2", "fetch tree moved from " + gone + ": "},
	} {
		got, err := s.Fetch(t.Context(), tc.tree, tc.rev)
		if err == nil || got != nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want %q", name, err, tc.want)
		}
	}
	if _, err := s.Fetch(t.Context(), "moved"); err == nil || !strings.Contains(err.Error(), "has the tree moved? give tree moved its new url in ") {
		t.Errorf("error %v", err)
	}
	if _, err := s.Fetch(t.Context(), "review"); err == nil || !strings.Contains(err.Error(), "name a revision, such as linux-6.12.y") {
		t.Errorf("error %v", err)
	}
	if got, err := s.Fetch(t.Context(), "mainline", hash[:10], "linux-7.2.y"); err != nil || got.Commits[hash[:10]] != hash {
		t.Errorf("short hash of the branch: %v, %v", got, err)
	}

	// Out of reach: a branch stays as it was, and that is said.
	if err := os.Rename(u.dir, u.dir+".away"); err != nil {
		t.Fatal(err)
	}
	got, err := s.Fetch(t.Context(), "mainline", "linux-7.2.y")
	if err != nil || len(got.Notes) != 1 || !strings.Contains(got.Notes[0], "branch linux-7.2.y of tree mainline was not refreshed") {
		t.Errorf("fetched %+v, %v", got, err)
	}
}

func TestTwoAtOnce(t *testing.T) {
	u := newUpstream(t)
	want := u.commit("v1.0")
	c := Catalogue{{Name: "mainline", URL: u.url(), Branch: "master"}}
	s := open(t, c)
	var wg sync.WaitGroup
	for range 3 {
		other, err := Open(s.dir, c)
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			if got, err := other.Fetch(t.Context(), "mainline", "v1.0"); err != nil || got.Commits["v1.0"] != want {
				t.Errorf("fetched %v, %v", got, err)
			}
		})
	}
	wg.Wait()
}

func TestFetchIsInterrupted(t *testing.T) {
	u := newUpstream(t)
	u.commit("v1.0")
	s := open(t, Catalogue{{Name: "mainline", URL: u.url(), Branch: "master"}})
	unlock, err := s.lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	stop := errors.New("stopped")
	ctx, cancel := context.WithCancelCause(t.Context())
	r := &recorder{seen: func() { cancel(stop) }}
	if _, err := s.Fetch(progress.With(ctx, r), "mainline"); !errors.Is(err, stop) {
		t.Errorf("error %v, want the interruption", err)
	}
	if len(r.names) != 1 || !strings.Contains(r.names[0], "wait for another unwedge") {
		t.Errorf("progress %q", r.names)
	}
}

// recorder is a Reporter that keeps names, and calls seen at the first.
type recorder struct {
	names []string
	notes []string
	total int64
	seen  func()
}

func (r *recorder) Task(name string, _ int64) progress.Task {
	r.names = append(r.names, name)
	if r.seen != nil {
		r.seen()
	}
	return r
}
func (r *recorder) Add(n int64)      { r.total += n }
func (r *recorder) Note(line string) { r.notes = append(r.notes, line) }
func (r *recorder) Done(error)       {}

func TestMeter(t *testing.T) {
	r := &recorder{}
	m := &meter{task: r}
	// From git 2.39's own progress, with a terminal's returns.
	text := "remote: Enumerating objects: 270, done.        \nremote: Counting objects: 100% (270/270), done.\r\n" +
		"Receiving objects:  45% (122/270), 12.50 MiB | 1.20 MiB/s\rReceiving objects:  45% (123/270), 13.00 MiB | 1.20 MiB/s\r" +
		"Receiving objects: 100% (270/270), 20.00 MiB | 2.00 MiB/s, done.\nResolving deltas:   0% (0/12)\r"
	for chunk := range slices.Chunk([]byte(text), 7) {
		if _, err := m.Write(chunk); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"counting objects 100%", "receiving objects 45%", "receiving objects 100%", "resolving deltas 0%"}; !slices.Equal(r.notes, want) {
		t.Errorf("notes %q, want %q", r.notes, want)
	}
	if r.total != 20<<20 {
		t.Errorf("%d bytes, want 20 MiB", r.total)
	}
	if _, err := m.Write(bytes.Repeat([]byte("x"), 1<<20)); err != nil || len(m.line) > 1024 {
		t.Errorf("a line without end is kept: %d bytes, %v", len(m.line), err)
	}
}
