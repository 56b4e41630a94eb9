package kbuild

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/unwedge/unwedge/images/candidate"
)

// make olddefconfig takes whatever it is given for a configuration: of a packed one, or
// of a pipe that was read before, all defaults come.
func TestResolveConfig(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, good := range []string{
		"", "defconfig", "tinyconfig",
		file("config-6.1", "#\n# Automatically generated\n#\nCONFIG_64BIT=y\n"), file("off", "# CONFIG_MODULES is not set\n"), file("crlf", "CONFIG_64BIT=y\r\n"),
	} {
		if got, err := ResolveConfig(t.Context(), good, candidate.Options{}); err != nil || got != good {
			t.Errorf("%q: %q, %v", good, got, err)
		}
	}
	for _, c := range []struct{ arg, word string }{
		{dir, "a directory"}, {pipe, "not a regular file"}, {file("config.gz", "\x1f\x8b\x08CONFIG_A=y\n"), "zcat"},
		{file("empty", ""), "no line of it"}, {file("notes", "see CONFIG_A=y\n"), "no line of it"},
	} {
		_, err := ResolveConfig(t.Context(), c.arg, candidate.Options{})
		if bad := new(BadConfigError); !errors.As(err, &bad) || bad.Path != c.arg || !strings.Contains(err.Error(), c.word) {
			t.Errorf("%s: %v, want %q", c.arg, err, c.word)
		}
	}
	// Nobody is there to be asked, and the output directory begins empty.
	for _, none := range []string{filepath.Join(dir, "nope"), "oldconfig", "menuconfig", "localmodconfig"} {
		if _, err := ResolveConfig(t.Context(), none, candidate.Options{}); !errors.As(err, new(*UnknownConfigError)) {
			t.Errorf("%s, which is no file that is there: %v", none, err)
		}
	}
}
