package compare_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/unwedge/unwedge/harness/history/compare"
	"github.com/unwedge/unwedge/harness/history/store"
	"github.com/unwedge/unwedge/harness/internal/sample"
	"github.com/unwedge/unwedge/harness/result"
)

const tiny, other = "tiny/x86_64/none/tiny", "random/x86_64/none/tiny"

// boots are n boots of a kernel, bad of which hang.
func boots(release string, n, bad int, b sample.Boot) (out []sample.Boot) {
	for i := range n {
		x := b
		x.Release = release
		if x.Cell == "" {
			x.Cell = tiny
		}
		if i >= bad {
			x.Hang = ""
		}
		out = append(out, x)
	}
	return out
}

func compared(t *testing.T, list ...[]sample.Boot) compare.Report {
	t.Helper()
	s, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "history.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	at := sample.Begin
	for _, l := range list {
		for _, b := range l {
			at = at.Add(time.Minute)
			b.At = at
			if _, err := s.Record(t.Context(), b.Result()); err != nil {
				t.Fatal(err)
			}
		}
	}
	r, err := compare.Kernels(t.Context(), s, "A", "B", 0.95)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestStates(t *testing.T) {
	hang := sample.Boot{Hang: "hang/demo"}
	warn := sample.Boot{Warning: "WARNING in demo"}
	host := func(b sample.Boot, name string) sample.Boot { b.Host = name; return b }
	for name, c := range map[string]struct {
		list [][]sample.Boot
		want string
	}{
		"new":               {[][]sample.Boot{boots("A", 5, 0, hang), boots("B", 3, 3, hang)}, "new hang/demo 0/5 3/3"},
		"rare and new":      {[][]sample.Boot{boots("A", 60, 0, hang), boots("B", 10, 2, hang)}, "new hang/demo 0/60 2/10"},
		"too few boots":     {[][]sample.Boot{boots("A", 1, 0, hang), boots("B", 1, 1, hang)}, "may-be-new hang/demo 0/1 1/1 more 2"},
		"seen before":       {[][]sample.Boot{boots("old", 9, 1, hang), boots("A", 9, 0, hang), boots("B", 3, 3, hang)}, "seen-before hang/demo 0/9 3/3 by old"},
		"seen elsewhere":    {[][]sample.Boot{boots("old", 9, 1, sample.Boot{Hang: "hang/demo", Cell: other}), boots("A", 9, 0, hang), boots("B", 3, 3, hang)}, "new hang/demo 0/9 3/3"},
		"seen later":        {[][]sample.Boot{boots("A", 9, 0, hang), boots("B", 3, 3, hang), boots("late", 3, 3, hang)}, "new hang/demo 0/9 3/3"},
		"fixed":             {[][]sample.Boot{boots("A", 4, 4, hang), boots("B", 4, 0, hang)}, "fixed hang/demo 4/4 0/4"},
		"may be fixed":      {[][]sample.Boot{boots("A", 4, 1, hang), boots("B", 4, 0, hang)}, "may-be-fixed hang/demo 1/4 0/4 more 16"},
		"still":             {[][]sample.Boot{boots("A", 2, 2, hang), boots("B", 2, 2, hang)}, "still-failing hang/demo 2/2 2/2"},
		"flaky":             {[][]sample.Boot{boots("A", 9, 2, hang), boots("B", 9, 3, hang)}, "flaky hang/demo 2/9 3/9"},
		"new finding":       {[][]sample.Boot{boots("A", 5, 0, sample.Boot{}), boots("B", 5, 0, warn)}, "new WARNING in demo 0/5 5/5"},
		"another cell only": {[][]sample.Boot{boots("A", 5, 0, hang), boots("B", 5, 5, sample.Boot{Hang: "hang/demo", Cell: other})}, "may-be-new hang/demo 0/0 5/5 more 2, missing tiny/x86_64/none/tiny, added random/x86_64/none/tiny"},
		"hosts contradict": {[][]sample.Boot{boots("A", 8, 0, host(hang, "X")), boots("A", 8, 0, host(hang, "Y")), boots("B", 8, 8, host(hang, "X")), boots("B", 8, 0, host(hang, "Y"))},
			"new hang/demo 0/8 8/8 on X"},
		"hosts apart": {[][]sample.Boot{boots("A", 8, 0, host(hang, "X")), boots("B", 8, 8, host(hang, "Y"))}, "may-be-new hang/demo 0/8 8/8 apart"},
		"KVM alone": {[][]sample.Boot{boots("A", 8, 0, sample.Boot{Accel: result.KVM}), boots("B", 8, 8, hang), boots("B", 1, 0, sample.Boot{Accel: result.KVM})},
			"may-be-new hang/demo 0/8 8/9 apart"},
		"nothing": {[][]sample.Boot{boots("A", 2, 0, hang), boots("B", 2, 0, hang)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := compared(t, c.list...)
			var got []string
			for _, e := range r.Entries {
				s := fmt.Sprintf("%s %s %d/%d %d/%d", e.State, e.Signature, e.A.Seen, e.A.Boots, e.B.Seen, e.B.Boots)
				if e.More != 0 {
					s += fmt.Sprint(" more ", e.More)
				}
				if e.Before != nil {
					s += " by " + e.Before.Release
				}
				if e.Host != "" {
					s += " on " + e.Host[strings.LastIndex(e.Host, " ")+1:]
				}
				if e.Apart {
					s += " apart"
				}
				got = append(got, s)
			}
			for _, m := range r.Missing {
				got = append(got, "missing "+m)
			}
			for _, m := range r.Added {
				got = append(got, "added "+m)
			}
			if g := strings.Join(got, ", "); g != c.want {
				t.Errorf("%s\nwant\n%s", g, c.want)
			}
		})
	}
}

func TestTimes(t *testing.T) {
	r := compared(t, boots("A", 8, 0, sample.Boot{}), boots("B", 8, 0, sample.Boot{Slow: 0.14}))
	if len(r.Times) != 4 || r.Times[1].String() != "slower: switch-root +0.8 s (+14 %)" || r.Bad() {
		t.Errorf("%+v", r.Times)
	}
}

// With initcall_debug the initcall that made the boot slower is named.
func TestInitcallsAreNamed(t *testing.T) {
	with := func(release string, slow time.Duration) (list []sample.Boot) {
		for i := range 12 {
			ms := time.Duration(i) * time.Millisecond
			list = append(list, sample.Boot{Release: release, Cell: tiny, Initcalls: map[string]time.Duration{"demo_init [demo]": 100*time.Millisecond + ms + slow, "acpi_init": 50*time.Millisecond + ms}})
		}
		return list
	}
	r := compared(t, with("A", 0), with("B", 40*time.Millisecond))
	if len(r.Initcalls) != 1 || r.Initcalls[0].String() != "slower: initcall demo_init [demo] +40 ms (+38 %)" || r.InitcallsCompared != 2 {
		t.Errorf("%d compared: %v", r.InitcallsCompared, r.Initcalls)
	}
	var b strings.Builder
	if err := compare.Text(&b, r); err != nil || !strings.Contains(b.String(), "slower: initcall demo_init [demo] +40 ms (+38 %)") {
		t.Errorf("%v\n%s", err, b.String())
	}
}

func TestSelect(t *testing.T) {
	starved, err := filepath.Abs("starved")
	if err != nil {
		t.Fatal(err)
	}
	kernels := []store.Kernel{
		{ID: 5, Release: "7.3.0-rc2-00012-gabcdef123456", BuildID: "5555aaaa5555"},
		{ID: 4, Release: "7.3.0-rc1", BuildID: "4444aaaa4444", SHA256: "99998888", Fault: "{}", Origin: starved},
		{ID: 3, Release: "7.3.0-rc1", BuildID: "4444aaaa4444"},
		{ID: 2, Release: "7.3.0-rc1", BuildID: "2222aaaa2222"},
		{ID: 1, Release: "6.1.0-50-cloud-amd64"},
	}
	near := func(compare.Side) ([]int64, error) { return []int64{1, 2, 3, 5}, nil } // 4 was booted elsewhere
	for _, c := range []struct{ a, b, want string }{
		{"6.1.0-50-cloud-amd64", "7.3.0-rc1", "[1] [3 2]"},
		{"4444aaaa", "last", "[3] [5]"},
		{"last", "last", "[3] [5]"},
		{"v7.3-rc1", "v7.3-rc2-12-gabcdef1", "[3 2] [5]"},
		{"4444aaaa4444", "./starved", "[3] [4]"},
		{"2222aaaa", "99998888", "[2] [4]"},
		{"2222aaaa", "starved", "[2] [4]"},
		{"v6.1", "last", "no run of"},
		{"v7.3-rc2", "last", "no run of"},
		{"4444", "last", "no run of"},
		{"7.3.0-rc1", "7.3.0-rc1", "the same kernel twice"},
	} {
		a, b, err := compare.Select(kernels, c.a, c.b, near)
		got := fmt.Sprint(a.IDs(), " ", b.IDs())
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%s, %s: %s, want %s", c.a, c.b, got, c.want)
		}
	}
	if _, _, err := compare.Select(kernels[:1], compare.Last, compare.Last, near); err == nil {
		t.Error("one kernel was compared with itself")
	}
}
