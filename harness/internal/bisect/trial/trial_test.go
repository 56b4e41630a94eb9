package trial_test

import (
	"context"
	"errors"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/harness/internal/bisect/trial"
)

func TestGone(t *testing.T) {
	// ∫(1-p)^n · 2p dp = 2/((n+1)(n+2)) for one failure in one boot.
	for n := range 20 {
		want := 1 / (1 + 2/float64((n+1)*(n+2)))
		if got := (trial.Seen{Failed: 1, Boots: 1}).Gone(n); math.Abs(got-want) > 1e-9 {
			t.Errorf("after %d boots %v, not %v", n, got, want)
		}
	}
	for _, tt := range []struct {
		seen       trial.Seen
		confidence float64
		want       int
	}{
		{trial.Seen{Failed: 1, Boots: 1}, 0.95, 5},
		{trial.Seen{Failed: 3, Boots: 3}, 0.95, 3},
		{trial.Seen{Failed: 10, Boots: 10}, 0.95, 2},
		{trial.Seen{Failed: 1, Boots: 20}, 0.999999, 0},
	} {
		if got := tt.seen.Need(tt.confidence, 1000); got != tt.want {
			t.Errorf("%+v at %v: %d boots, not %d", tt.seen, tt.confidence, got, tt.want)
		}
	}
}

// The stated confidence holds: of failures whose rate is drawn as the model has it, half
// of them mended, those that pass the boots asked for are mended as often as said.
func TestTheConfidenceHolds(t *testing.T) {
	seen, n := trial.Seen{Failed: 2, Boots: 3}, 6
	// P(p | 2 of 3) ∝ p²(1-p): numerically, over a grid.
	var weight, pass float64
	for i := range 100000 {
		p := (float64(i) + 0.5) / 100000
		w := p * p * (1 - p)
		weight, pass = weight+w, pass+w*math.Pow(1-p, float64(n))
	}
	if got, want := seen.Gone(n), 1/(1+pass/weight); math.Abs(got-want) > 1e-6 {
		t.Errorf("%v, not %v", got, want)
	}
}

// series makes a repository and a mailbox of the two commits on its top.
func series(t *testing.T) (dir, mbox string, run func(...string) string) {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	dir = t.TempDir()
	run = func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", dir, "-c", "user.name=demo", "-c", "user.email=demo@example.org"}, args...)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
		return string(out)
	}
	change := func(subject string, files map[string]string) {
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		run("add", "-A")
		run("commit", "-q", "-m", subject)
	}
	lines := func(first, last string) string {
		return first + "\n" + strings.Repeat("x\ny\nz\n", 10) + last + "\n"
	}
	run("init", "-q")
	change("base", map[string]string{"a.c": lines("one", "two"), "b.c": "b\n"})
	run("tag", "base")
	change("a: both ends", map[string]string{"a.c": lines("ONE", "TWO")})
	change("b: say more", map[string]string{"b.c": "b\nc\n"})
	mbox = filepath.Join(t.TempDir(), "series.mbox")
	if err := os.WriteFile(mbox, []byte(run("format-patch", "--stdout", "base")), 0o644); err != nil {
		t.Fatal(err)
	}
	run("checkout", "-q", "--detach", "base")
	return dir, mbox, run
}

func TestApply(t *testing.T) {
	dir, mbox, run := series(t)
	subjects, err := trial.Apply(t.Context(), dir, mbox)
	if want := []string{"a: both ends", "b: say more"}; err != nil || !slices.Equal(subjects, want) {
		t.Fatalf("%q, %v", subjects, err)
	}
	if said := run("log", "-1", "--format=%an %cn"); said != "demo unwedge\n" {
		t.Errorf("%q", said)
	}
}

func TestWhatDoesNotApplyIsNamed(t *testing.T) {
	dir, mbox, run := series(t)
	if err := os.WriteFile(filepath.Join(dir, "a.c"), []byte("else\n"+strings.Repeat("x\ny\nz\n", 10)+"two\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	run("commit", "-q", "-a", "-m", "another first line")
	at := run("rev-parse", "HEAD")
	_, err := trial.Apply(t.Context(), dir, mbox)
	var bad *trial.RejectedError
	if !errors.As(err, &bad) || len(bad.Parts) != 1 || bad.Parts[0].File != "a.c" || bad.Parts[0].Hunk != 1 || !strings.Contains(bad.Subject, "a: both ends") {
		t.Fatalf("%v: %+v", err, bad)
	}
	if run("rev-parse", "HEAD") != at || run("status", "--porcelain") != "" {
		t.Errorf("the tree is not as it was: %s", run("status"))
	}
	run("rm", "-q", "a.c")
	run("commit", "-q", "-m", "no a.c")
	if _, err := trial.Apply(t.Context(), dir, mbox); !errors.As(err, &bad) || len(bad.Parts) == 0 || bad.Parts[0].File != "a.c" || bad.Parts[0].Hunk != 0 {
		t.Errorf("%v", err)
	}
}

func TestBadMailboxes(t *testing.T) {
	dir, _, run := series(t)
	for name, text := range map[string]string{"empty": "", "a letter": "From x Mon Sep 17 00:00:00 2001\nFrom: a <a@b>\nSubject: hello\n\nhello\n", "bytes": "\x00\xff\x00"} {
		file := filepath.Join(t.TempDir(), "m")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if subjects, err := trial.Apply(t.Context(), dir, file); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %q, %v", name, subjects, err)
		}
		if said := run("status", "--porcelain"); said != "" {
			t.Errorf("%s: left behind: %s", name, said)
		}
	}
}

func TestApplyEndsWithItsContext(t *testing.T) {
	dir, mbox, _ := series(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("interrupted")
	cancel(stop)
	if _, err := trial.Apply(ctx, dir, mbox); !errors.Is(err, stop) {
		t.Errorf("%v", err)
	}
}
