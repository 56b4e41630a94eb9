package cli

import (
	"strings"
	"testing"

	"github.com/unwedge/unwedge/harness/internal/bisect/trial"
)

func TestBadTries(t *testing.T) {
	dir := isolated(t)
	bootedRun(t, dir)
	write(t, "s.mbox", []byte("From x"))
	need := []string{"try", "run", "--tree", ".", "--rev", "HEAD", "--patch"}
	for _, tt := range []struct {
		args  []string
		words []string
	}{
		{[]string{"try"}, []string{"requires at least 1 arg", "see `unwedge try --help`"}},
		{[]string{"try", "run"}, []string{"--tree, --rev and --patch are needed"}},
		{[]string{"try", "nowhere"}, []string{"read result", "no such file"}},
		{append(need[:7:7], "nowhere"), []string{"--patch nowhere: no such file"}},
		{append(need[:7:7], "s.mbox", "--confidence", "2"), []string{"--confidence 2: use a value between"}},
	} {
		r := unwedge(t, "", tt.args...)
		if r.code != exitUsage {
			t.Errorf("%q: exit code %d: %s", tt.args, r.code, r.stderr)
		}
		onlyLine(t, r, tt.words...)
	}
}

func TestTried(t *testing.T) {
	r := trial.Report{
		Verdict: trial.Rejects, Why: "it does not", Failure: "hang: x\x1b[2J", Scenario: "tiny", Describe: "v7.3-rc1", Base: "0123",
		Rejected: []trial.Rejected{{File: "kernel/f.c", Hunk: 2, Why: "the lines around it differ"}},
	}
	var b strings.Builder
	if err := tried(&b, &r); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"DOES NOT APPLY  it does not\n", "rejected: kernel/f.c, hunk 2: the lines around it differ\n", "on:       v7.3-rc1 0123\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	noControls(t, b.String())
}
