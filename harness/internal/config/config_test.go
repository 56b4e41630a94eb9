package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/harness/internal/config"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestTheTreeComesFirst(t *testing.T) {
	home, top := t.TempDir(), t.TempDir()
	below := filepath.Join(top, "drivers", "net")
	write(t, filepath.Join(below, "x"), "")
	write(t, filepath.Join(top, ".git", "HEAD"), "")
	write(t, filepath.Join(top, config.TreeFile), "# mine\nscenario: random\nscenarios: ci/s.yaml\ncmdline: [a=1, b]\n")
	write(t, filepath.Join(home, "unwedge", "config.yaml"), "scenario: tiny\nroot: /\nqemu_args: -snapshot\n")
	got, err := config.Find(below, home)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, v := range got {
		lines = append(lines, v.Key.Flag+" "+strings.Join(v.Values, " ")+" "+v.From())
	}
	tree, own := filepath.Join(top, config.TreeFile), filepath.Join(home, "unwedge", "config.yaml")
	want := []string{
		"scenario random " + tree + ":2", "scenarios " + filepath.Join(top, "ci/s.yaml") + " " + tree + ":3", "append a=1 b " + tree + ":4",
		"root / " + own + ":2", "qemu-arg -snapshot " + own + ":3",
	}
	if strings.Join(lines, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}

func TestAStrangersFileAboveDoesNotCount(t *testing.T) {
	top := t.TempDir()
	write(t, filepath.Join(top, config.TreeFile), "accel: kvm\n")
	dir := filepath.Join(top, "a")
	write(t, filepath.Join(dir, "x"), "")
	if got, err := config.Find(dir, ""); err != nil || len(got) > 0 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestMistakesHaveTheirLine(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"unknown":            {"accel: tcg\nroots: /\n", `line 2: unknown key "roots"`},
		"twice":              {"accel: tcg\naccel: kvm\n", "accel appears twice"},
		"QEMU arguments":     {"qemu_args: [-nic, user]\n", "line 1: qemu_args reaches the host"},
		"the host's root":    {"\nroot: /\n", "line 2: root reaches the host"},
		"mirror":             {"mirror: file:///\n", "mirror reaches the host"},
		"a file elsewhere":   {"scenarios: ../../etc/passwd\n", "only files below it"},
		"an absolute file":   {"scenarios: /etc/passwd\n", "only files below it"},
		"a list for a value": {"accel: [a, b]\n", "line 1: accel: use one value"},
		"a mapping":          {"cmdline: {a: b}\n", "cmdline: use a list of words"},
		"no mapping":         {"- a\n", "use a mapping"},
		"no YAML":            {"a: b: c", "mapping values"},
		"large":              {strings.Repeat("#", 70<<10), "more than 64 KiB"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, config.TreeFile), tc.text)
			got, err := config.Find(dir, "")
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v, error %v, want one line with %q", got, err, tc.want)
			}
		})
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, config.TreeFile), "")
	if got, err := config.Find(dir, ""); err != nil || len(got) > 0 {
		t.Errorf("an empty file: %v, %v", got, err)
	}
}
