package trees

import (
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/unwedge/unwedge/images/git"
)

// What a user is told to do fits what git said.
func TestNextStep(t *testing.T) {
	s := open(t, Catalogue{{Name: "mainline", URL: "https://git.example/linux", Branch: "master"}})
	for said, want := range map[string]string{
		"'/home/me/4034/404.git' does not appear to be a git repository": "has the tree moved?",
		"The requested URL returned error: 403":                          "wants a login",
		"The requested URL returned error: 404":                          "has the tree moved?",
		"the server has said nothing for 5m0s":                           "check the network",
		"The requested URL returned error: 503":                          "try again",
	} {
		if got := s.nextStep(s.trees[0], &git.Error{Said: said}); !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %q", said, got, want)
		}
	}
}

// Locks that git has left when the host went down must not stop the store for ever.
func TestLocksAreLeft(t *testing.T) {
	u := newUpstream(t)
	u.commit("v1.0")
	s := open(t, Catalogue{{Name: "mainline", URL: u.url(), Branch: "master"}})
	if _, err := s.Fetch(t.Context(), "mainline"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"config.lock", "packed-refs.lock", "refs/trees/mainline/heads/master.lock", "objects/info/commit-graphs/commit-graph-chain.lock",
	} {
		path := filepath.Join(s.GitDir(), name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		want := u.commit("")
		if got, err := s.Fetch(t.Context(), "mainline"); err != nil || got.Commits["master"] != want {
			t.Errorf("with %s: %v, %v", name, got, err)
		}
	}
}

// What a killed fetch has left of a pack goes at once, unless somebody writes it.
func TestPartialPacks(t *testing.T) {
	u := newUpstream(t)
	u.commit("v1.0")
	s := open(t, Catalogue{{Name: "mainline", URL: u.url(), Branch: "master"}})
	if _, err := s.Fetch(t.Context(), "mainline"); err != nil {
		t.Fatal(err)
	}
	left, used := filepath.Join(s.objects(), "pack", "tmp_pack_left"), filepath.Join(s.objects(), "pack", "tmp_pack_used")
	if err := os.WriteFile(left, []byte("PACK"), 0o444); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(used)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := s.Fetch(t.Context(), "mainline"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("half a pack stays: %v", err)
	}
	if _, err := os.Stat(used); err != nil {
		t.Errorf("a checkout's pack: %v", err)
	}
}

// A disk that is full is told as such, and half a pack does not stay on it.
func TestDiskIsFull(t *testing.T) {
	u := newUpstream(t)
	u.commit("v1.0")
	s := open(t, Catalogue{{Name: "mainline", URL: u.url(), Branch: "master"}})
	real, err := exec.LookPath("git")
	if err != nil {
		t.Skip("git is not installed")
	}
	dir, half := t.TempDir(), filepath.Join(s.objects(), "pack", "tmp_pack_1")
	// As git 2.39 does.
	script := "#!/bin/sh\nfor a; do [ \"$a\" = fetch ] || continue\n" +
		"echo PACK > " + half + "\necho 'fatal: write error: No space left on device' >&2\necho 'fatal: fetch-pack: invalid index-pack output' >&2\nexit 128\ndone\nexec " + real + ` "$@"` + "\n"
	if err := os.WriteFile(filepath.Join(dir, "git"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	_, err = s.Fetch(t.Context(), "mainline")
	if err == nil || !strings.Contains(err.Error(), "No space left on device: free some space") {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(half); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("half a pack stays: %v", err)
	}
}

// serve answers each connection by a function, and returns the address.
func serve(t *testing.T, answer func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			answer(c)
			t.Cleanup(func() { c.Close() })
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

// A server that takes the call and says nothing is given up.
func TestServerHangs(t *testing.T) {
	newUpstream(t)
	s := open(t, Catalogue{{Name: "mainline", URL: "git://" + serve(t, func(net.Conn) {}) + "/linux", Branch: "master"}})
	s.silence = 300 * time.Millisecond
	_, err := s.Fetch(t.Context(), "mainline")
	var failed *FetchError
	if !errors.As(err, &failed) || !strings.Contains(err.Error(), "the server has said nothing for 300ms") || !strings.Contains(err.Error(), "check the network") {
		t.Errorf("error %v", err)
	}
	stop := errors.New("stopped")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stop)
	if _, err := (git.Command{Dir: s.dir, Silence: time.Hour, Args: []string{"version"}}).Run(ctx); !errors.Is(err, stop) {
		t.Errorf("interrupted: %v", err)
	}
}

// A page that asks for a login is no empty tree.
func TestServerIsNone(t *testing.T) {
	newUpstream(t)
	for body, want := range map[string]string{
		"<html>please log in":   "no branches and no tags: is that the url of a git repository?",
		"<html>please log in\n": "is this a git repository?: has the tree moved?",
	} {
		page := func(c net.Conn) {
			_, _ = c.Read(make([]byte, 4096))
			_, _ = c.Write([]byte("HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n" + body))
			c.Close()
		}
		s := open(t, Catalogue{{Name: "mainline", URL: "http://me:secret@" + serve(t, page) + "/linux", Branch: "master"}})
		_, err := s.Fetch(t.Context(), "mainline")
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("error %v, want %q", err, want)
		}
		if st, err := os.Stat(filepath.Join(s.GitDir(), "config")); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("the file with the password: %v %v", st.Mode(), err)
		}
	}
}

// What the host's administrator has set, such as a mirror, holds as it does for git.
func TestSystemConfiguration(t *testing.T) {
	u := newUpstream(t)
	want := u.commit("v1.0")
	s := open(t, Catalogue{{Name: "mainline", URL: "https://git.invalid/linux", Branch: "master"}})
	system := filepath.Join(t.TempDir(), "gitconfig")
	if err := os.WriteFile(system, []byte("[url \""+u.url()+"\"]\n\tinsteadOf = https://git.invalid/linux\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GIT_CONFIG_NOSYSTEM", "0")
	t.Setenv("GIT_CONFIG_SYSTEM", system)
	if got, err := s.Fetch(t.Context(), "mainline"); err != nil || got.Commits["master"] != want {
		t.Errorf("%v, %v", got, err)
	}
}

// twins makes two commits whose hashes begin alike, and returns the beginning.
func twins(t *testing.T, gitDir, tree string) string {
	t.Helper()
	seen := map[string]string{}
	for n := 0; ; n++ {
		text := fmt.Sprintf("tree %s\nauthor A <a@b> %[2]d +0000\ncommitter A <a@b> %[2]d +0000\n\nmessage\n", tree, n)
		hash := fmt.Sprintf("%x", sha1.Sum(fmt.Appendf(nil, "commit %d\x00%s", len(text), text)))[:7]
		other, ok := seen[hash]
		if seen[hash] = text; !ok {
			continue
		}
		for _, body := range []string{text, other} {
			cmd := exec.Command("git", "-C", gitDir, "hash-object", "-t", "commit", "-w", "--stdin")
			cmd.Stdin = strings.NewReader(body)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}
		return hash
	}
}

func TestAmbiguousHash(t *testing.T) {
	u := newUpstream(t)
	u.commit("v1.0")
	s := open(t, Catalogue{{Name: "mainline", URL: u.url(), Branch: "master"}})
	if _, err := s.Fetch(t.Context(), "mainline"); err != nil {
		t.Fatal(err)
	}
	short := twins(t, s.GitDir(), u.git("rev-parse", "HEAD^{tree}"))
	if _, err := s.Fetch(t.Context(), "mainline", short); err == nil || !strings.Contains(err.Error(), "2 hashes begin like that: give more digits") {
		t.Errorf("error %v", err)
	}
}

// A branch takes the place of one that is no more.
func TestBranchInTheWay(t *testing.T) {
	u := newUpstream(t)
	one := u.commit("v1.0")
	u.git("branch", "for-next")
	s := open(t, Catalogue{{Name: "mainline", URL: u.url(), Branch: "for-next"}})
	for _, name := range []string{"for-next", "for-next/core", "for-next"} {
		u.git("checkout", "--quiet", "--detach", "v1.0")
		for line := range strings.Lines(u.git("branch", "--list", "for-next*", "--format=%(refname:short)")) {
			u.git("branch", "-D", strings.TrimSpace(line))
		}
		u.git("branch", name)
		if got, err := s.Fetch(t.Context(), "mainline", name); err != nil || got.Commits[name] != one {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestReferenceIsShallow(t *testing.T) {
	u := newUpstream(t)
	u.commit("v1.0")
	u.commit("v1.1")
	clone := filepath.Join(t.TempDir(), "clone")
	u.git("clone", "--quiet", "--depth=1", u.url(), clone)
	s := open(t, Catalogue{{Name: "mainline", URL: u.url(), Branch: "master", Reference: clone}})
	if _, err := s.Fetch(t.Context(), "mainline", "v1.1"); err == nil || !strings.Contains(err.Error(), "is a shallow clone") {
		t.Errorf("error %v", err)
	}
}

// What a clone had that is gone now is fetched.
func TestReferenceIsGone(t *testing.T) {
	u := newUpstream(t)
	want := u.commit("v1.0")
	clone := filepath.Join(t.TempDir(), "clone")
	u.git("clone", "--quiet", u.dir, clone)
	s := open(t, Catalogue{{Name: "mainline", URL: u.url(), Branch: "master", Reference: clone}})
	if _, err := s.Fetch(t.Context(), "mainline", "v1.0", "master"); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(clone); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Fetch(t.Context(), "mainline", "v1.0"); err == nil || !strings.Contains(err.Error(), "reference "+clone) {
		t.Errorf("the file still names it: %v", err)
	}
	s.trees[0].Reference = ""
	for _, rev := range []string{"v1.0", "master"} {
		if got, err := s.Fetch(t.Context(), "mainline", rev); err != nil || got.Commits[rev] != want {
			t.Errorf("%v, %v", got, err)
		}
	}
	if out, err := s.git("log", "--format=%s", want).Run(t.Context()); err != nil || out != "change v1.0\n" {
		t.Errorf("the commit is not here: %q %v", out, err)
	}
}

// A tag of the base needs no network, even where the tree itself is asked first.
func TestBaseOffline(t *testing.T) {
	u := newUpstream(t)
	one := u.commit("v1.0")
	next := &upstream{t, filepath.Join(t.TempDir(), "next")}
	u.git("clone", "--quiet", "--no-tags", u.dir, next.dir)
	next.commit("next-20261120")
	s := open(t, Catalogue{{Name: "mainline", URL: u.url(), Branch: "master"}, {Name: "next", URL: next.url(), Branch: "master", Base: "mainline"}})
	if _, err := s.Fetch(t.Context(), "next", "v1.0"); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{u.dir, next.dir} {
		if err := os.Rename(dir, dir+".away"); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.Fetch(t.Context(), "next", "v1.0")
	if err != nil || got.Commits["v1.0"] != one || len(got.Notes) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := s.Fetch(t.Context(), "next", "v1.1"); !errors.As(err, new(*FetchError)) {
		t.Errorf("a tag that was never here: %v", err)
	}
}
