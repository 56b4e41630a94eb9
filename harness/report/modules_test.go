package report_test

import (
	"strings"
	"testing"

	"github.com/unwedge/unwedge/harness/report"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/images/agentproto"
	"github.com/unwedge/unwedge/images/extmod"
)

func TestModules(t *testing.T) {
	r := booted()
	r.Modules = []result.Module{
		{Label: "crc", Predicted: extmod.Prediction{Verdict: extmod.RefusedCRC, Symbol: "_printk", Errno: "EINVAL", Notes: []string{"a note"}},
			Got: &agentproto.ModuleTried{Errno: "ENOENT", Log: []string{"probe: \x1b[31m"}}, Difference: "it is not so"},
		{Label: "as-built", Predicted: extmod.Prediction{Verdict: extmod.Loads, Notes: []string{"a note"}}, Got: &agentproto.ModuleTried{}},
		{Label: "late", Predicted: extmod.Prediction{Verdict: extmod.Loads}},
	}
	var b strings.Builder
	if err := report.Text(&b, r, report.Style{}); err != nil {
		t.Fatal(err)
	}
	want := `  module:   crc: predicted refused-crc(_printk), EINVAL; the kernel refused it: ENOENT
              | probe: ␛[31m
              not as expected: it is not so
              note: a note
  module:   as-built: predicted loads; the kernel loaded it
  module:   late: predicted loads; not tried
`
	if !strings.Contains(b.String(), want) {
		t.Errorf("%s\nlacks\n%s", b.String(), want)
	}
}
