package report_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/harness/bisect"
	"github.com/unwedge/unwedge/harness/report"
)

// What a commit's subject says to a terminal is not said to it by JSON either, and is
// read back as it was.
func TestJSONIsSafeForATerminal(t *testing.T) {
	subject := "a\x1b[2J\x7f\u009b31m\u202e\U000e0041ä→"
	var b strings.Builder
	if err := report.JSON(&b, bisect.Candidate{About: subject}); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(b.String(), "\x1b\x7f\u009b\u202e\U000e0041") || !strings.Contains(b.String(), "ä→") {
		t.Errorf("printed: %q", b.String())
	}
	var got bisect.Candidate
	if err := json.Unmarshal([]byte(b.String()), &got); err != nil || got.About != subject {
		t.Errorf("read back: %q, %v", got.About, err)
	}
}
