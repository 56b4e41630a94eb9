package bisect_test

import (
	"testing"

	"github.com/unwedge/unwedge/harness/bisect"
	"github.com/unwedge/unwedge/harness/internal/schematest"
)

// Every field of a real report is described, and the schema refuses what is none.
func TestSchema(t *testing.T) {
	w := newWorld(t, 20, 9)
	w.broken[7], w.same[15] = true, 14
	full := must(t, w.bisection(t.TempDir()))
	full.Notes = []string{"a note"}
	full.Question.Build, full.Question.Any = "gcc", true
	full.Suspects = w.Candidates()[:2]
	full.Said, full.WentOn, full.Replay = "said", "went on", "git bisect replay log"
	full.Commit = &bisect.Commit{Author: "a <a@b>", Date: "2026-01-02T03:04:05Z", After: "v1-2-g3", Fixes: `Fixes: 0 ("x")`, Changes: "x | 1 +"}
	for _, b := range []*bisect.Boot{&full.Failure, full.BadBoot, full.GoodBoot} {
		b.Why, b.Stage, b.Sure, b.Where, b.What, b.Stack, b.Met = "why", "init", "certain", "kernel", "what", []string{"f"}, []string{"g"}
	}
	s := schematest.Strict(t, bisect.JSONSchema())
	if err := s.Validate(schematest.Encode(t, full)); err != nil {
		t.Errorf("%v\n(a new field: go generate ./harness/result)", err)
	}
	full.Schema = "unwedge/bisect/2"
	if s.Validate(schematest.Encode(t, full)) == nil {
		t.Error("another schema's document is accepted")
	}
	full.Schema, full.Steps[0].Verdict = bisect.Schema, "perhaps"
	if s.Validate(schematest.Encode(t, full)) == nil {
		t.Error("a verdict that is none is accepted")
	}
	if s.Validate(schematest.Document(t, `{"schema":"unwedge/bisect/1","new":1}`)) == nil {
		t.Error("an unknown field is accepted")
	}
}
