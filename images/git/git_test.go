package git

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// A server that never stops talking is not listened to for ever.
func TestEndlessAnswer(t *testing.T) {
	dir := t.TempDir()
	script := "#!/bin/sh\nexec yes '0123456789012345678901234567890123456789\trefs/heads/x'\n"
	if err := os.WriteFile(filepath.Join(dir, "git"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	if _, err := (Command{Dir: dir, Args: []string{"ls-remote", "x"}, MaxOutput: 1 << 20}).Run(t.Context()); err == nil {
		t.Error("no error")
	}
}

func TestComplaint(t *testing.T) {
	for text, want := range map[string]string{
		"fatal: unable to access 'https://x/': Could not resolve host: x\n":                                                         "Could not resolve host: x",
		"remote: HTTP Basic: Access denied\nfatal: Authentication failed for 'https://x/'\n":                                        "Authentication failed for 'https://x/' (HTTP Basic: Access denied)",
		"ssh: connect to host x port 22: Connection refused\nfatal: Could not read from remote repository.\n\nPlease":               "connect to host x port 22: Connection refused",
		"remote: \x1b[31mgo away\x1b[0m\nfatal: no\n":                                                                               "no ([31mgo away[0m)",
		"remote: Counting objects: 3\n":                                                                                             "",
		"fatal: write error: No space left on device\nfatal: fetch-pack: invalid index-pack output\n":                               "write error: No space left on device",
		"error: RPC failed; curl 18 transfer closed\nfatal: early EOF\nfatal: fetch-pack: invalid index-pack output\n":              "RPC failed; curl 18 transfer closed",
		"error: cannot lock ref 'x': it is taken\nerror: some local refs could not be updated; try running\n":                       "cannot lock ref 'x': it is taken",
		"error: object directory /gone/objects does not exist\nerror: refs/x does not point to a valid object!\nfatal: no such x\n": "no such x",
		"git@git.example: Permission denied (publickey).\nfatal: Could not read from remote repository.\n":                          "git@git.example: Permission denied (publickey).",
		"no such thing\nand more\n":                                             "no such thing",
		"fatal: repository 'https://me:s3cr@et@git.example/x/' not found\n":     "repository 'https://***@git.example/x/' not found",
		"fatal: no 'ssh://me:secret@git.example/x', nor ssh://me@git.example\n": "no 'ssh://me:***@git.example/x', nor ssh://me@git.example",
		"fatal: fetch-pack: unexpected disconnect\n":                            "fetch-pack: unexpected disconnect",
	} {
		if got := complaint(text); got != want {
			t.Errorf("complaint %q, want %q", got, want)
		}
	}
}

func TestVerb(t *testing.T) {
	if got := (Command{Args: []string{"-c", "a.b=c", "fetch", "-q"}}).verb(); got != "fetch" {
		t.Errorf("verb %q", got)
	}
}

// Variables that point git to another repository do not reach it; what the caller adds does.
func TestEnvironment(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "git"), []byte("#!/bin/sh\necho \"$GIT_DIR $GIT_ASKPASS $GIT_SSH_COMMAND $GIT_AUTHOR_NAME\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	t.Setenv("GIT_DIR", "/elsewhere")
	t.Setenv("GIT_ASKPASS", "/ask")
	t.Setenv("GIT_SSH_COMMAND", "ssh")
	if out, err := (Command{Dir: dir, Args: []string{"x"}, Env: []string{"GIT_AUTHOR_NAME=A"}}).Run(t.Context()); err != nil || out != "  ssh A\n" {
		t.Errorf("%q, %v", out, err)
	}
}

// git reports a full disk in words only.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	script := "#!/bin/sh\necho \"fatal: sha1 file 'x/tmp_idx_n7vS67' write error. Out of diskspace\" >&2\nexit 128\n"
	if err := os.WriteFile(filepath.Join(dir, "git"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	_, err := Run(t.Context(), dir, "fetch")
	if failed := new(Error); !errors.Is(err, unix.ENOSPC) || !errors.As(err, &failed) || failed.Verb != "fetch" {
		t.Errorf("%v", err)
	}
}
