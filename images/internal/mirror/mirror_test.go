package mirror

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestFind(t *testing.T) {
	t.Setenv(Env, "")
	etc := t.TempDir()
	if _, err := Find("", "bookworm", etc); !errors.Is(err, ErrNone) {
		t.Errorf("error %v, want ErrNone", err)
	}
	write(t, filepath.Join(etc, "sources.list.d/a.list"), []byte("# deb http://comment.example/debian x main\ndeb-src http://src.example/debian x main\ndeb [arch=amd64 signed-by=/k] http://other.example/apt stable main\n"))
	write(t, filepath.Join(etc, "sources.list.d/b.sources"), []byte("Enabled: no\nTypes: deb\nURIs: http://off.example/debian\n\n"+
		"Types: deb deb-src\n# a comment\nURIs: http://one.example/debian/\n http://two.example/debian\nSuites: x\n\nTypes: deb\nURIs: http://one.example/debian-security\n"))
	for _, tc := range []struct{ mirror, env, suite, want string }{
		{"", "", "bookworm", "http://one.example/debian"},
		{"", "", "bookworm-security", "http://one.example/debian-security"},
		{"", "https://env.example/debian", "trixie-security", "https://env.example/debian-security"},
		{"http://opt.example/x/debian/", "https://env.example/debian", "trixie", "http://opt.example/x/debian"},
		{"file:/srv/archive", "", "trixie-security", "file:/srv/archive"},
	} {
		t.Setenv(Env, tc.env)
		if got, err := Find(tc.mirror, tc.suite, etc); err != nil || got != tc.want {
			t.Errorf("%+v: %q, %v", tc, got, err)
		}
	}
	t.Setenv(Env, "")
	write(t, filepath.Join(etc, "sources.list"), []byte("deb http://first.example/debian stable main\n"))
	if got, _ := Find("", "sid", etc); got != "http://first.example/debian" {
		t.Errorf("one-line source: %q", got)
	}
	if _, err := Find("http://bad.example/debian x main\ndeb http://evil", "sid", etc); err == nil {
		t.Error("a mirror with white space was taken")
	}
}
