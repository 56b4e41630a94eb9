package cli

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/images/kernel/kerneltest"
)

func TestTrees(t *testing.T) {
	git, err := exec.LookPath("git")
	dir := isolated(t)
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(dir, "config"))
	r := unwedge(t, "", "trees")
	if r.code != 0 || !strings.Contains(r.stdout, "mainline") || !strings.Contains(r.stdout, "Linus Torvalds' tree") {
		t.Errorf("trees: %+v", r)
	}
	var list []listedTree
	r = unwedge(t, "", "trees", "stable", "--json")
	if err := json.Unmarshal([]byte(r.stdout), &list); err != nil || len(list) != 1 || list[0].Base != "mainline" || list[0].Fetched == nil {
		t.Errorf("trees --json: %+v, %v", r, err)
	}
	for _, args := range [][]string{{"trees", "nope"}, {"trees", "fetch", "nope"}} {
		if r := unwedge(t, "", args...); r.code != exitUsage || !strings.Contains(r.stderr, `no kernel tree "nope": there are mainline`) {
			t.Errorf("%v: %+v", args, r)
		}
	}
	own := write(t, filepath.Join(dir, "config", "unwedge", "trees.yaml"), []byte("trees: [{name: mainline, ulr: x}]"))
	if r := unwedge(t, "", "trees"); r.code != exitUsage || !strings.Contains(r.stderr, own) || !strings.Contains(r.stderr, "field ulr not found") {
		t.Errorf("a broken file: %+v", r)
	}
	write(t, own, []byte("trees: [{name: ours, url: 'https://me:secret@git.example/linux', versions: v1.0}]"))
	for _, args := range [][]string{{"trees", "ours"}, {"trees", "ours", "--json"}, {"trees", "--json"}} {
		if r := unwedge(t, "", args...); r.code != 0 || strings.Contains(r.stdout, "secret") {
			t.Errorf("%v: a password is shown, or the tree is not: %+v", args, r)
		}
	}
	if r := unwedge(t, "", "trees", "fetch", "ours"); r.code != exitUsage || !strings.Contains(r.stderr, "no default branch: name a revision, such as v1.0") {
		t.Errorf("no revision: %+v", r)
	}
	if err != nil {
		t.Skip("git is not installed")
	}

	t.Setenv("PATH", filepath.Dir(git))
	t.Setenv("GIT_CONFIG_GLOBAL", os.DevNull)
	repo := filepath.Join(dir, "repo")
	for _, args := range [][]string{
		{"init", "--quiet", "--initial-branch=master", repo},
		{"-C", repo, "-c", "user.name=T", "-c", "user.email=t@example", "commit", "--quiet", "--allow-empty", "-m", "first"},
		{"-C", repo, "tag", "v1.0"},
	} {
		if out, err := exec.Command(git, args...).CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
	}
	write(t, own, []byte("trees: [{name: ours, purpose: ours, url: 'file://"+repo+"', branch: master}]"))
	r = unwedge(t, "", "trees", "fetch", "ours", "v1.0")
	if r.code != 0 || !strings.Contains(r.stdout, "  v1.0\nin "+filepath.Join(dir, "cache")) {
		t.Errorf("fetch: %+v", r)
	}
	if r := unwedge(t, "", "trees", "ours"); r.code != 0 || !strings.Contains(r.stdout, "fetched:") || !strings.Contains(r.stdout, "v1.0") {
		t.Errorf("what was fetched: %+v", r)
	}
	if r := unwedge(t, "", "trees", "fetch", "ours", "v1.1"); r.code != exitUsage || !strings.Contains(r.stderr, "did you mean v1.0?") && !strings.Contains(r.stderr, "is not in tree ours") {
		t.Errorf("unknown revision: %+v", r)
	}
	write(t, own, []byte("trees: [{name: ours, purpose: ours, url: 'file://"+repo+"-gone', branch: master}]"))
	if r := unwedge(t, "", "trees", "fetch", "ours", "v2.0"); r.code != exitHarness || !strings.Contains(r.stderr, "has the tree moved?") {
		t.Errorf("gone: %+v", r)
	}
}

func TestKernels(t *testing.T) {
	dir := isolated(t)
	packed, err := kerneltest.Pack("gzip", kerneltest.Vmlinux())
	if err != nil {
		t.Fatal(err)
	}
	image := kerneltest.BzImage(packed)
	write(t, filepath.Join(dir, "old", "kept"), image)
	write(t, filepath.Join(dir, "old", "letter"), []byte("no kernel"))
	r := unwedge(t, "", "kernels", "old")
	if r.code != 0 || !strings.Contains(r.stdout, filepath.Join(dir, "old", "kept")) || !strings.Contains(r.stderr, "note: letter is left out") {
		t.Errorf("kernels: %+v", r)
	}
	r = unwedge(t, "", "kernels", "old", "--json")
	var list []map[string]any
	if err := json.Unmarshal([]byte(r.stdout), &list); err != nil || len(list) != 1 || list[0]["kernel"] != "6.1" || list[0]["release"] != kerneltest.Release {
		t.Errorf("kernels --json: %+v, %v", r, err)
	}
	if r := unwedge(t, "", "kernels", "none/*.deb"); r.code != exitUsage || !strings.Contains(r.stderr, "no such file") {
		t.Errorf("nothing there: %+v", r)
	}
	if r := unwedge(t, "", "kernels"); r.code != exitUsage {
		t.Errorf("no pattern: %+v", r)
	}
}
