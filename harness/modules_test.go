package harness

import (
	"strings"
	"testing"

	"github.com/unwedge/unwedge/images/agentproto"
	"github.com/unwedge/unwedge/images/extmod"
	"github.com/unwedge/unwedge/scenarios/stage"
)

func TestTriedModules(t *testing.T) {
	loads := ModuleTrial{Label: "a", Want: extmod.Loads, Predicted: extmod.Prediction{Verdict: extmod.Loads, Why: "all fits"}, Param: "w", Says: "probe: w"}
	refused := ModuleTrial{Label: "a", Want: extmod.RefusedCRC, Predicted: extmod.Prediction{
		Verdict: extmod.RefusedCRC, Errno: "EINVAL", Lines: []string{"probe: disagrees", "probe: Unknown symbol"}, Why: "its CRCs differ",
	}}
	said := []string{"probe: loading", "probe: disagrees", "module: probe: Unknown symbol x"}
	unwanted := refused
	unwanted.Want = extmod.Loads
	for name, tt := range map[string]struct {
		trial ModuleTrial
		got   *agentproto.ModuleTried
		want  string // part of the difference, "" for none
	}{
		"loaded":                      {loads, &agentproto.ModuleTried{Label: "a", Param: "w", Log: []string{"probe: w (4 ms)"}}, ""},
		"loaded, and says nothing":    {loads, &agentproto.ModuleTried{Label: "a", Param: "w"}, `did not log "probe: w"`},
		"loaded with another word":    {loads, &agentproto.ModuleTried{Label: "a", Param: "\x1b", Log: []string{"probe: w"}}, `its parameter is "␛", expected "w"`},
		"refused, though it fits":     {loads, &agentproto.ModuleTried{Label: "a", Errno: "ENOEXEC"}, "predicted success, but finit_module returned ENOEXEC"},
		"refused":                     {refused, &agentproto.ModuleTried{Label: "a", Errno: "EINVAL", Log: said}, ""},
		"refused with another error":  {refused, &agentproto.ModuleTried{Label: "a", Errno: "ENOENT", Log: said}, "predicted EINVAL, but finit_module returned ENOENT"},
		"refused for another reason":  {refused, &agentproto.ModuleTried{Label: "a", Errno: "EINVAL", Log: said[:1]}, `did not log "probe: disagrees"`},
		"loaded, though it is wrong":  {refused, &agentproto.ModuleTried{Label: "a"}, "predicted EINVAL, but finit_module returned success"},
		"not tried":                   {refused, nil, "the guest did not try it"},
		"refused, and is to load":     {unwanted, &agentproto.ModuleTried{Label: "a", Errno: "EINVAL", Log: said}, "refused-crc, as predicted, where the scenario asks for loads: its CRCs differ"},
		"another trial is not this's": {refused, &agentproto.ModuleTried{Label: "b", Errno: "EINVAL", Log: said}, "the guest did not try it"},
	} {
		reports := []agentproto.Report{{Stage: stage.Init}, {Stage: stage.Module, Module: tt.got}}
		tried := triedModules([]ModuleTrial{tt.trial}, reports)
		if len(tried) != 1 || tried[0].Label != "a" || tried[0].Wanted != tt.trial.Want || (tried[0].Got == nil) != (tt.want == "the guest did not try it") {
			t.Errorf("%s: %+v", name, tried)
			continue
		}
		d := tried[0].Difference
		if (d == "") != (tt.want == "") || !strings.Contains(d, tt.want) {
			t.Errorf("%s: %q, want %q", name, d, tt.want)
		}
		if why := wrongModule(tried); (why == "") != (d == "") || !strings.Contains(why, d) {
			t.Errorf("%s: %q", name, why)
		}
	}
	if got := triedModules(nil, []agentproto.Report{{Module: &agentproto.ModuleTried{Label: "x"}}}); got != nil {
		t.Errorf("modules that nobody asked for: %+v", got)
	}
}
