package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const noRoot = "[    0.000000] Linux version 6.8.0 (ci@build) #1 SMP\n[    1.873000] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\n"

// TestExplainMany: logs of a directory are grouped by what went wrong, and each is a
// line of JSON.
func TestExplainMany(t *testing.T) {
	dir := t.TempDir()
	for name, log := range map[string]string{
		"a.log": noRoot, "b/c.log": strings.ReplaceAll(noRoot, "6.8.0", "6.9.0"), "d.log": "hello\n", "empty.log": "", ".git/config": "x",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(log), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r := unwedge(t, "", "explain", dir)
	want := "    2  kernel panic: VFS: Unable to mount root fs on unknown-block(0,0)\n       cause:   root-mount-failed (certain)\n       example: " + filepath.Join(dir, "a.log") + "\n"
	if r.code != 1 || !strings.HasPrefix(r.stdout, want) || !strings.Contains(r.stdout, "the file is empty") {
		t.Errorf("code %d:\n%s%s", r.code, r.stdout, r.stderr)
	}
	r = unwedge(t, "", "explain", "--json", dir)
	lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
	if len(lines) != 4 {
		t.Fatalf("%d lines:\n%s", len(lines), r.stdout)
	}
	for _, l := range lines {
		var one struct{ Log, Title, Error string }
		if err := json.Unmarshal([]byte(l), &one); err != nil || one.Log == "" || (one.Title == "") == (one.Error == "") {
			t.Errorf("%s: %v", l, err)
		}
	}
}

// TestExplainFollow: a log whose verdict is certain is not waited for.
func TestExplainFollow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte(noRoot), 0o644); err != nil {
		t.Fatal(err)
	}
	if r := unwedge(t, "", "explain", "--follow", path); r.code != 0 || !strings.Contains(r.stdout, "root-mount-failed (certain)") {
		t.Errorf("code %d:\n%s%s", r.code, r.stdout, r.stderr)
	}
}

// A kernel without lines is bad input. (Package lines tests what is added to frames.)
func TestExplainKernel(t *testing.T) {
	dir := isolated(t)
	log := write(t, "console.log", []byte(noRoot))
	write(t, "tree/vmlinux", []byte("no ELF"))
	for kernel, word := range map[string]string{
		filepath.Join(dir, "tree"): "not an ELF file", "missing": "no such file", log: "name the unstripped vmlinux",
	} {
		r := unwedge(t, "", "explain", "--kernel", kernel, log)
		if r.code != 2 {
			t.Errorf("%s: exit code %d", kernel, r.code)
		}
		onlyLine(t, r, word)
	}
}
