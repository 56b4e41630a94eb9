package rundir_test

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/rundir"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.FixedZone("east", 3600))

func TestCreate(t *testing.T) {
	base := filepath.Join(t.TempDir(), "not", "yet", "there")
	for i, want := range []string{
		"20261123-110000-tiny-x86_64-none-tiny-6.1.0-40-cloud-amd64",
		"20261123-110000-tiny-x86_64-none-tiny-6.1.0-40-cloud-amd64-2",
		"20261123-110000-tiny-x86_64-none-tiny-6.1.0-40-cloud-amd64-3",
	} {
		got, err := rundir.Create(base, "tiny/x86_64/none/tiny", "6.1.0-40-cloud-amd64", now)
		if err != nil || got != filepath.Join(base, "runs", want) {
			t.Errorf("run %d: %s, %v, want %s", i+1, got, err, want)
		}
	}
}

// A run's directory has what a guest's memory held: it is its user's alone.
func TestNobodyElseReadsIt(t *testing.T) {
	base := filepath.Join(t.TempDir(), "base")
	made, err := rundir.Create(base, "tiny", "6.1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	asked, err := rundir.New(filepath.Join(t.TempDir(), "out"), "tiny", "6.1")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{made, asked} {
		if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", dir, st.Mode(), err)
		}
	}
}

func TestHostileNames(t *testing.T) {
	plain := regexp.MustCompile(`^20261123-110000-[A-Za-z0-9._+-]*$`)
	for _, name := range []string{
		"", ".", "..", "../../etc", "/etc/passwd", "-rf", "a b", "a\nb", "\x1b[2J", "\x00", "ünï", "\xff\xfe", strings.Repeat("x", 5000),
		strings.Repeat("é", 300), "~", "$HOME", "a/./b",
	} {
		base := t.TempDir()
		for _, pair := range [][2]string{{name, "6.1"}, {"tiny", name}, {name, name}} {
			dir, err := rundir.Create(base, pair[0], pair[1], now)
			if err != nil {
				t.Errorf("%q: %v", pair, err)
				continue
			}
			if filepath.Dir(dir) != filepath.Join(base, "runs") || !plain.MatchString(filepath.Base(dir)) || len(filepath.Base(dir)) > 200 {
				t.Errorf("%q makes %q", pair, dir)
			}
		}
	}
}

func TestTwoRunsNeverShareADirectory(t *testing.T) {
	base := t.TempDir()
	const runs = 50
	dirs := make([]string, runs)
	var wg sync.WaitGroup
	for i := range dirs {
		wg.Go(func() {
			var err error
			if dirs[i], err = rundir.Create(base, "tiny", "6.1", now); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	slices.Sort(dirs)
	if n := len(slices.Compact(dirs)); n != runs {
		t.Errorf("%d directories for %d runs", n, runs)
	}
}

func TestCreateWhereItCannot(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := rundir.Create(file, "tiny", "6.1", now); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("error %v, want one that names %s", err, file)
	}
}

func TestBase(t *testing.T) {
	for _, tt := range []struct{ own, xdg, home, want string }{
		{"/own", "/xdg", "/home/x", "/own"},
		{"", "/xdg", "/home/x", "/xdg/unwedge"},
		{"", "relative", "/home/x", "/home/x/.local/state/unwedge"},
		{"", "", "/home/x", "/home/x/.local/state/unwedge"},
	} {
		t.Setenv("UNWEDGE_STATE", tt.own)
		t.Setenv("XDG_STATE_HOME", tt.xdg)
		t.Setenv("HOME", tt.home)
		if got, err := rundir.Base(); err != nil || got != tt.want {
			t.Errorf("%+v: %s, %v", tt, got, err)
		}
	}
	t.Setenv("UNWEDGE_STATE", "relative")
	if got, err := rundir.Base(); err != nil || !filepath.IsAbs(got) {
		t.Errorf("%s, %v: want an absolute path", got, err)
	}
	t.Setenv("UNWEDGE_STATE", "")
	t.Setenv("HOME", "")
	if got, err := rundir.Base(); err == nil || !strings.Contains(err.Error(), "UNWEDGE_STATE") {
		t.Errorf("%s, %v: want an error that says what to set", got, err)
	}
}

func TestPresent(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{rundir.Console, rundir.QMP, rundir.Dump('t'), rundir.Dump('9'), "somebody-else's"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]string{
		"console": "console.log", "qmp": "qmp.jsonl", "dump-sysrq-t": "dump-sysrq-t.txt", "dump-sysrq-9": "dump-sysrq-9.txt",
	}
	if got := rundir.Present(dir); !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestNew(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv("UNWEDGE_STATE", filepath.Join(dir, "state"))
	for _, out := range []string{"new", "new/deeper", dir + "/empty dir"} {
		got, err := rundir.New(out, "tiny", "6.1")
		if want, _ := filepath.Abs(out); err != nil || got != want {
			t.Errorf("%s: %s, %v", out, got, err)
		}
		if st, err := os.Stat(got); err != nil || !st.IsDir() {
			t.Errorf("%s: %v", got, err)
		}
	}
	if _, err := rundir.New("new", "tiny", "6.1"); !errors.As(err, new(usage.Error)) {
		t.Errorf("a directory that is not empty: %v", err)
	}
	if got, err := rundir.New("", "tiny", "6.1"); err != nil || filepath.Dir(got) != filepath.Join(dir, "state", "runs") {
		t.Errorf("%s, %v", got, err)
	}
}
