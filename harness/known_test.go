package harness

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/unwedge/unwedge/harness/internal/known"
	"github.com/unwedge/unwedge/harness/result"
)

// A known failure does not fail the run, unless the kernel complained of something else.
func TestKnownFailure(t *testing.T) {
	path := filepath.Join(t.TempDir(), "known.yaml")
	if err := os.WriteFile(path, []byte("- signature: hang/demo\n  reason: it is being fixed\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	list, err := known.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	hang := &result.Diagnosis{Signature: "hang/demo", Title: "hang: demo"}
	own := result.Finding{Title: "hang: demo", Severity: result.Fatal}
	other := result.Finding{Title: "KASAN: use-after-free Read in other", Severity: result.Error}
	for name, c := range map[string]struct {
		res   result.Result
		fails bool
	}{
		"known":            {result.Result{Diagnosis: hang, Findings: []result.Finding{own}}, false},
		"with another":     {result.Result{Diagnosis: hang, Findings: []result.Finding{own, other}}, true},
		"another failure":  {result.Result{Diagnosis: &result.Diagnosis{Signature: "hang/x"}}, true},
		"as expected":      {result.Result{Expected: true, Diagnosis: hang}, false},
		"not diagnosed":    {result.Result{}, true},
		"with a warning":   {result.Result{Diagnosis: hang, Findings: []result.Finding{{Title: "WARNING in x", Severity: result.Warning}}}, false},
		"with known KASAN": {result.Result{Diagnosis: hang, Findings: []result.Finding{{Title: other.Title, Severity: result.Error, Known: &result.Known{}}}}, false},
	} {
		new(outcome).known(&c.res, Request{Known: list})
		if c.res.Fails() != c.fails {
			t.Errorf("%s: %+v, fails %v", name, c.res.KnownFailure, !c.fails)
		}
	}
}
