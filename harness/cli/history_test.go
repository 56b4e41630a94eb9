package cli

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/unwedge/unwedge/harness/history/store"
	"github.com/unwedge/unwedge/harness/internal/display"
	"github.com/unwedge/unwedge/harness/internal/sample"
	"github.com/unwedge/unwedge/harness/rundir"
)

// runs leaves the result.json of boots below a directory.
func runs(t *testing.T, dir string, boots ...sample.Boot) {
	t.Helper()
	for i, b := range boots {
		r := b.Result()
		r.Times.Started = sample.Begin.Add(time.Duration(i) * time.Minute)
		var err error
		if err = os.MkdirAll(dir, 0o755); err == nil {
			r.Dir, err = os.MkdirTemp(dir, "run")
		}
		if err == nil {
			err = r.Write(rundir.Result)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestHistory(t *testing.T) {
	dir := isolated(t)
	if r := unwedge(t, "", "history"); r.code != exitUsage || !strings.Contains(r.stderr, "no history yet") {
		t.Errorf("before the first run: %+v", r)
	}
	runs(t, filepath.Join(dir, "runs"),
		sample.Boot{Release: "6.1.0", Cell: "tiny/x86_64/none/tiny"},
		sample.Boot{Release: "6.12.0", Cell: "tiny/x86_64/none/tiny", Hang: "hang/mutex/demo"})
	if r := unwedge(t, "", "history", "import", "runs"); r.code != exitFine || !strings.Contains(r.stdout, "2 runs, 2 of them new") {
		t.Fatalf("import: %+v", r)
	}
	r := unwedge(t, "", "history", "--failed")
	if lines := strings.Split(strings.TrimSpace(r.stdout), "\n"); r.code != exitFine || len(lines) != 2 || !strings.Contains(lines[1], "hang: hang/mutex/demo") {
		t.Errorf("list: %+v", r)
	}
	if r := unwedge(t, "", "history", "--by", "kernel"); r.code != exitFine || !strings.Contains(r.stdout, "6.12.0") {
		t.Errorf("by kernel: %+v", r)
	}
	r = unwedge(t, "", "history", "--json", "--kernel", "6.1.0")
	var listed []store.Run
	if err := json.Unmarshal([]byte(r.stdout), &listed); err != nil || len(listed) != 1 || listed[0].Kernel.Release != "6.1.0" {
		t.Errorf("json: %+v, %v", r, err)
	}
	if r := unwedge(t, "", "history", "prune", "--older-than", "2026-01-02"); r.code != exitFine || !strings.Contains(r.stdout, "forgot 2 runs") {
		t.Errorf("prune: %+v", r)
	}
	for _, args := range [][]string{{"history", "--by", "moon"}, {"history", "prune"}, {"history", "prune", "--older-than", "soon"}, {"history", "--since", "soon"}, {"history", "import", "nowhere"}, {"history", "--limit", "-1"}} {
		if r := unwedge(t, "", args...); r.code != exitUsage || strings.Count(r.stderr, "\n") != 1 {
			t.Errorf("%v: %+v", args, r)
		}
	}
}

// A history that cannot be written costs a note and nothing else.
func TestARunThatCannotBeRecorded(t *testing.T) {
	isolated(t)
	t.Setenv("UNWEDGE_STATE", "/proc/nowhere")
	var said strings.Builder
	a := &app{stderr: &said}
	d := display.New(&said, false)
	a.record(t.Context(), d, sample.Boot{Release: "6.1.0", Cell: "tiny"}.Result())
	d.Close()
	if !strings.Contains(said.String(), "note: this run is not in the history: ") {
		t.Errorf("%q", said.String())
	}
	said.Reset()
	a.noHistory = true
	a.record(t.Context(), d, sample.Boot{Release: "6.1.0", Cell: "tiny"}.Result())
	if said.String() != "" {
		t.Errorf("with --no-history: %q", said.String())
	}
}

func TestCompare(t *testing.T) {
	dir := isolated(t)
	const cell = "tiny/x86_64/none/tiny"
	var boots []sample.Boot
	for range 5 {
		boots = append(boots, sample.Boot{Release: "6.1.0", Cell: cell}, sample.Boot{Release: "6.12.0", Cell: cell, Hang: "hang/mutex/demo", Slow: 0.1})
	}
	runs(t, filepath.Join(dir, "runs"), boots...)
	unwedge(t, "", "history", "import", "runs")
	for _, args := range [][]string{{"compare", "6.1.0", "6.12.0"}, {"compare", "last"}, {"compare", "--confidence", "0.95", "last"}, {"compare", "--retry", "last"}} { // sure without a retry
		r := unwedge(t, "", args...)
		for _, want := range []string{"New failures\n  hang: hang/mutex/demo\n    " + cell, "A 0 of 5 (0 to 43 %), B 5 of 5 (57 to 100 %); by chance p = 0.004", "slower: switch-root +0.6 s (+10 %)"} {
			if r.code != exitKernel || !strings.Contains(r.stdout, want) {
				t.Errorf("%v: %+v\nlacks %q", args, r, want)
			}
		}
	}
	if r := unwedge(t, "", "compare", "6.12.0", "6.1.0"); r.code != exitFine || !strings.Contains(r.stdout, "Fixed\n") {
		t.Errorf("the other way: %+v", r)
	}
	r := unwedge(t, "", "compare", "--json", "6.1.0", "6.12.0")
	var doc struct {
		Schema  string
		Entries []struct{ State string }
	}
	if err := json.Unmarshal([]byte(r.stdout), &doc); err != nil || doc.Schema != "unwedge/compare/1" || len(doc.Entries) != 1 || doc.Entries[0].State != "new" {
		t.Errorf("json: %+v, %v", r, err)
	}
	for _, args := range [][]string{{"compare", "6.1.0", "9.9"}, {"compare"}, {"compare", "--confidence", "100", "6.1.0", "6.12.0"}} {
		if r := unwedge(t, "", args...); r.code != exitUsage || strings.Count(r.stderr, "\n") != 1 {
			t.Errorf("%v: %+v", args, r)
		}
	}
}

// written hands on what is written.
type written chan string

func (l written) Write(p []byte) (int, error) { l <- string(p); return len(p), nil }

func TestServe(t *testing.T) {
	dir := isolated(t)
	runs(t, filepath.Join(dir, "runs"), sample.Boot{Release: "6.1.0", Cell: "tiny/x86_64/none/tiny"})
	unwedge(t, "", "history", "import", "runs")
	for listen, token := range map[string]bool{"127.0.0.1:0": false, ":0": true} {
		ctx, stop := context.WithCancel(t.Context())
		out, code := make(written, 10), make(chan int, 1)
		a := &app{version: "v1", stdout: out, stderr: out}
		go func() { code <- a.main(ctx, []string{"serve", "--listen", listen}) }()
		url := strings.TrimSpace(<-out)
		if strings.Contains(url, "?token=") != token {
			t.Fatalf("%s: %q", listen, url)
		}
		bare, _, _ := strings.Cut(url, "?")
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, bare, nil)
		if err != nil {
			t.Fatal(err)
		}
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if want := map[bool]int{false: http.StatusOK, true: http.StatusUnauthorized}[token]; res.StatusCode != want {
			t.Errorf("%s: %d", listen, res.StatusCode)
		}
		stop()
		if c := <-code; c != exitFine {
			t.Errorf("%s: exit code %d", listen, c)
		}
	}
	if r := unwedge(t, "", "serve", "--listen", "here"); r.code != exitUsage {
		t.Errorf("%+v", r)
	}
}

func TestCompareRetryRefuses(t *testing.T) {
	dir := isolated(t)
	const cell = "tiny/x86_64/none/tiny"
	runs(t, filepath.Join(dir, "runs"), sample.Boot{Release: "6.1.0", Cell: cell}, sample.Boot{Release: "6.12.0", Cell: cell, Hang: "hang/mutex/demo"})
	unwedge(t, "", "history", "import", "runs")
	for want, args := range map[string][]string{
		"no arguments of QEMU":   {"compare", "--retry", "last"},
		"leave out --no-history": {"compare", "--retry", "--no-history", "last"},
		"--boots 1: use 2":       {"compare", "--retry", "--boots", "1", "last"},
	} {
		if r := unwedge(t, "", args...); r.code != exitUsage || !strings.Contains(r.stderr, want) {
			t.Errorf("%v: %+v", args, r)
		}
	}
}

// A matrix ends with what is new against the kernel before it in the same cells.
func TestSince(t *testing.T) {
	dir := isolated(t)
	boot := sample.Boot{Release: "6.12.0", Cell: "tiny/x86_64/none/tiny", Hang: "hang/mutex/demo"}
	runs(t, filepath.Join(dir, "runs"), sample.Boot{Release: "6.1.0", Cell: boot.Cell}, boot, sample.Boot{Release: "5.10.0", Cell: "tiny/aarch64/none/tiny"})
	if r := unwedge(t, "", "history", "import", "runs"); r.code != exitFine {
		t.Fatalf("import: %+v", r)
	}
	a := &app{stderr: os.Stderr}
	got := a.since(t.Context(), boot.Result(), boot.Result(), nil)
	if len(got) != 1 || !strings.HasPrefix(got[0], "note: 6.12.0 against 6.1.0: 1 may be new (unwedge compare ") {
		t.Errorf("%q", got)
	}
	a.noHistory = true
	if got := a.since(t.Context(), boot.Result()); got != nil {
		t.Errorf("without a history: %q", got)
	}
}
