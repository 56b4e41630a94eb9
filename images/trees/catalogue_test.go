package trees

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestBuiltin(t *testing.T) {
	c := Builtin()
	for _, name := range []string{"mainline", "stable", "stable-rc", "linux-next", "mm", "net", "net-next", "bpf", "tip", "drm-tip", "arm64", "soc", "fedora", "debian", "ubuntu"} {
		if _, err := c.Find(name); err != nil {
			t.Error(err)
		}
	}
	for _, tree := range c {
		if tree.Purpose == "" || !strings.HasPrefix(tree.URL, "https://") || tree.Reference != "" {
			t.Errorf("tree %+v: want a purpose, an https URL and no reference", tree)
		}
		if tree.Branch == "" && tree.Versions == "" {
			t.Errorf("tree %s: nothing says what can be taken", tree.Name)
		}
	}
	_, err := c.Find("mainlin")
	if !errors.As(err, new(*UnknownTreeError)) || !strings.Contains(err.Error(), "mainline, stable") || !strings.Contains(err.Error(), "trees.yaml") {
		t.Errorf("error %v", err)
	}
}

func TestUserFile(t *testing.T) {
	home := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", home)
	path, err := UserFile()
	if err != nil || path != filepath.Join(home, "unwedge", "trees.yaml") {
		t.Fatalf("user file %s, %v", path, err)
	}
	c, err := Load("")
	if err != nil || len(c) != len(Builtin()) {
		t.Fatalf("without a file: %d trees, %v", len(c), err)
	}
	const own = `trees:
  - name: mainline
    url: https://mirror.example/linux.git
    reference: /home/me/linux
  - name: ours
    purpose: our kernel
    url: git@git.example:kernel/linux.git
    branch: product/2.0
    base: mainline
`
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(own), 0o644); err != nil {
		t.Fatal(err)
	}
	if c, err = Load(""); err != nil {
		t.Fatal(err)
	}
	m, err := c.Find("mainline")
	if err != nil || m.URL != "https://mirror.example/linux.git" || m.Branch != "master" || m.Reference != "/home/me/linux" {
		t.Errorf("mainline %+v, %v: want the file's URL and the built-in branch", m, err)
	}
	if last := c[len(c)-1]; last.Name != "ours" || last.Branch != "product/2.0" || !slices.Equal(c.Names()[:3], []string{"mainline", "stable", "stable-rc"}) {
		t.Errorf("trees %v", c.Names())
	}
	if _, err := Load(filepath.Join(home, "none.yaml")); err == nil {
		t.Error("a file that was named and is not there is no error")
	}
}

func TestCatalogueErrors(t *testing.T) {
	for name, tc := range map[string]struct{ yaml, want string }{
		"empty":             {"", "empty"},
		"no list":           {"trees: []", "no trees"},
		"misspelt field":    {"trees: [{name: a, uri: x}]", "field uri not found"},
		"no name":           {"trees: [{url: https://x/y}]", `tree name ""`},
		"bad name":          {"trees: [{name: ../x, url: https://x/y}]", `tree name "../x"`},
		"twice":             {"trees: [{name: a, url: https://x/y}, {name: a, url: https://x/y}]", "tree a appears twice"},
		"no url":            {"trees: [{name: a}]", "tree a: it has no url"},
		"a program":         {"trees: [{name: a, url: 'ext::sh -c id'}]", "want https://"},
		"an option":         {"trees: [{name: a, url: '--upload-pack=id'}]", "want https://"},
		"a file's host":     {"trees: [{name: a, url: 'file://linux/tree'}]", "file:///path"},
		"a command":         {"trees: [{name: fetch, url: https://x/y}]", "`unwedge trees` uses that word"},
		"two documents":     {"trees: [{name: a, url: https://x/y}]\n---\ntrees: [{name: b, url: https://x/y}]", "one document"},
		"login in an error": {"trees: [{name: a, url: 'ftp://me:secret@x/y'}]", `url "ftp://me:***@x/y"`},
		"slash in a secret": {"trees: [{name: a, url: 'https://me:se/cret@git.example/linux.git'}]", `url "https://***@git.example/linux.git": want https://`},
		"an @ in it, too":   {"trees: [{name: a, url: 'https://me:s e@c/ret@git.example/linux.git'}]", `url "https://***@git.example/linux.git": want https://`},
		"space in a secret": {"trees: [{name: a, url: 'https://me:se cret@git.example/linux.git'}]", `url "https://***@git.example/linux.git": want https://`},
		"secret for scp":    {"trees: [{name: a, url: 'me:secret@git.example:/linux.git'}]", `url "***@git.example:/linux.git": want https://`},
		"no host":           {"trees: [{name: a, url: 'https:///x'}]", "want https://"},
		"bad branch":        {"trees: [{name: a, url: https://x/y, branch: '--all'}]", `branch "--all"`},
		"unknown base":      {"trees: [{name: a, url: https://x/y, base: b}]", `no kernel tree "b"`},
		"circle":            {"trees: [{name: a, url: https://x/y, base: b}, {name: b, url: https://x/y, base: a}]", "circle"},
		"relative path":     {"trees: [{name: a, url: https://x/y, reference: linux}]", "not an absolute path"},
		"newline in path":   {"trees: [{name: a, url: https://x/y, reference: \"/a\\n/b\"}]", "not an absolute path"},
		"override breaks":   {"trees: [{name: mainline, url: ''}]", "tree mainline: it has no url"},
		"circle by default": {"trees: [{name: mainline, base: stable}]", "circle"},
	} {
		c, err := Builtin().With(strings.NewReader(tc.yaml))
		if err == nil && c.check() == nil || err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want %q", name, err, tc.want)
		}
	}
}

// A file that is too long must not lose its last trees in silence.
func TestLongFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "trees.yaml")
	text := "trees:\n- {name: a, url: https://x/y}\n" + strings.Repeat("# comment\n", maxFile/10+1) + "- {name: b, url: https://x/y}\n"
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "more than 1 MiB") {
		t.Errorf("error %v", err)
	}
}

func TestShownURL(t *testing.T) {
	for in, want := range map[string]string{
		"https://git.example/linux.git":              "https://git.example/linux.git",
		"https://me:secret@git.example/linux.git":    "https://***@git.example/linux.git",
		"https://token@git.example/linux.git":        "https://***@git.example/linux.git",
		"http://me:se@cret@git.example/linux.git":    "http://***@git.example/linux.git",
		"ssh://git@git.example/linux.git":            "ssh://git@git.example/linux.git",
		"ssh://git:secret@git.example:22/linux.git":  "ssh://git:***@git.example:22/linux.git",
		"git@git.example:linux.git":                  "git@git.example:linux.git",
		"https://git.launchpad.net/~team/a@b/+git/c": "https://git.launchpad.net/~team/a@b/+git/c",
		"file:///home/me/linux@2":                    "file:///home/me/linux@2",
	} {
		if got := (Tree{URL: in}).ShownURL(); got != want {
			t.Errorf("%s is shown as %s, want %s", in, got, want)
		}
	}
	tree := Tree{URL: "https://me:secret@git.example/linux.git"}
	if got := conceal(tree, "no 'https://me:secret@git.example/linux.git/', nor secret"); got != "no 'https://***@git.example/linux.git/', nor ***" {
		t.Errorf("git said %q", got)
	}
}
