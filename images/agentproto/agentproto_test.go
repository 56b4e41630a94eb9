package agentproto_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/unwedge/unwedge/images/agentproto"
	"github.com/unwedge/unwedge/scenarios/stage"
)

func one() *int { n := 1; return &n }

var full = agentproto.Report{
	V: 1, Stage: stage.MultiUser, Release: "6.1.0-40-amd64", BuildID: "0011aabb", FIPS: one(), HWRNG: "virtio_rng.0",
	CRNG: true, CRNGReadyAt: 2.5, Uptime: 12.25, Via: "console", Error: "module \"x\" \u2028 <&> is missing",
}

func TestRoundTrip(t *testing.T) {
	for _, r := range []agentproto.Report{full, {V: 1, Stage: stage.Init}} {
		line, err := r.Line()
		if err != nil {
			t.Fatal(err)
		}
		if strings.ContainsAny(string(line), "\n\r") {
			t.Errorf("more than one line: %q", line)
		}
		for _, before := range []string{"", agentproto.Prefix, "[    1.234567] " + agentproto.Prefix, "<1>[  1.0][   T1] \x1b[0m" + agentproto.Prefix} {
			got, err := agentproto.Parse([]byte(before + string(line)))
			if err != nil {
				t.Errorf("%q: %v", before, err)
			}
			if d := cmp.Diff(r, got); d != "" {
				t.Errorf("%q: %s", before, d)
			}
		}
	}
}

func TestLineHasALimit(t *testing.T) {
	r := full
	r.Error = strings.Repeat("x", agentproto.MaxLine)
	if line, err := r.Line(); err == nil || line != nil {
		t.Errorf("%d bytes, %v", len(line), err)
	}
}

func TestParse(t *testing.T) {
	const p, ok = agentproto.Prefix, `{"v":1,"stage":"init","uptime":1}`
	for _, tt := range []struct {
		name, line string
		want       stage.Stage // "" for an error
		none       bool        // ErrNotReport
	}{
		{name: "empty", none: true},
		{name: "text", line: "Linux version 6.1", none: true},
		{name: "object behind text", line: "x " + ok, none: true},
		{name: "object", line: ok, want: "init"},
		{name: "other object", line: `{"a":1}`},
		{name: "prefix only", line: p},
		{name: "torn", line: p + ok[:20]},
		{name: "another writer behind", line: p + ok + "[    2.0] usb 1-1: new device", want: "init"},
		{name: "carriage return behind", line: p + ok + "\r", want: "init"},
		{name: "another writer within", line: p + ok[:10] + "[    2.0] usb" + ok[10:]},
		{name: "torn, and a whole one behind", line: p + ok[:20] + "[    2.0] " + p + ok, want: "init"},
		{name: "two whole ones", line: p + ok + p + strings.Replace(ok, "init", "system", 1), want: "init"},
		{name: "prefix in a string", line: p + `{"v":1,"stage":"init","error":"` + p + `"}`, want: "init"},
		{name: "version 2", line: `{"v":2,"stage":"init"}`},
		{name: "no version", line: `{"stage":"init"}`},
		{name: "no stage", line: `{"v":1}`},
		{name: "empty stage", line: `{"v":1,"stage":""}`},
		{name: "unknown stage", line: `{"v":1,"stage":"from the future","new":[1,{}]}`, want: "from the future"},
		{name: "wrong types", line: `{"v":"1","stage":5}`},
		{name: "null", line: p + "null"},
		{name: "list", line: p + "[]"},
		{name: "huge number", line: `{"v":1,"stage":"init","uptime":1e400}`},
		{name: "absurd uptime", line: `{"v":1,"stage":"init","uptime":1e300}`},
		{name: "negative uptime", line: `{"v":1,"stage":"init","uptime":-1}`},
		{name: "absurd crng", line: `{"v":1,"stage":"init","crng_ready_at":1e300}`},
		{name: "deep", line: p + strings.Repeat(`{"a":`, 20000)},
		{name: "many prefixes", line: strings.Repeat(p+`{"`, 3000)},
		{name: "controls", line: p + "{\"v\":1,\"stage\":\"\x1b[2J\"}"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := agentproto.Parse([]byte(tt.line))
			if r.Stage != tt.want || (err == nil) != (tt.want != "") {
				t.Errorf("stage %q, %v, want %q", r.Stage, err, tt.want)
			}
			if errors.Is(err, agentproto.ErrNotReport) != tt.none {
				t.Errorf("error %v", err)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	line, err := full.Line()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(line)
	f.Add([]byte(agentproto.Prefix + string(line) + "x"))
	f.Add([]byte(agentproto.Prefix + `{"v":1,` + agentproto.Prefix + string(line)))
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := agentproto.Parse(line)
		if err != nil {
			if r != (agentproto.Report{}) {
				t.Errorf("a report with error %v: %+v", err, r)
			}
			return
		}
		if r.V != 1 || r.Stage == "" {
			t.Errorf("report %+v", r)
		}
		if _, err := json.Marshal(r); err != nil {
			t.Errorf("a report that cannot be kept: %v", err)
		}
	})
}
