package boottime

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/unwedge/unwedge/harness/history/store"
)

// initcallsOf are boots with a hundred initcalls, the first of which is later by a part.
func initcallsOf(r *rand.Rand, n int, slow float64) (list []store.InitcallTime) {
	for i := range 100 {
		for run, took := range boots(r, n, 0.02+0.001*float64(i), 0.05) {
			if i == 0 {
				took *= 1 + slow
			}
			list = append(list, store.InitcallTime{Run: int64(run), Name: fmt.Sprint("demo_init_", i), Took: took})
		}
	}
	return list
}

// Of two kernels that do not differ, one comparison in a hundred tells any of a hundred
// initcalls: the bound is far above that by chance alone. Ten boots of each find the one
// that is slower by 35 %, twenty by 15 %.
func TestInitcallAlarmsAndPower(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	const times = 20
	for _, c := range []struct {
		boots     int
		slow      float64
		low, high float64 // bounds of how often the slow one is told
	}{{10, 0, 0, 0}, {20, 0, 0, 0}, {10, 0.35, 0.8, 1}, {20, 0.15, 0.8, 1}} {
		told, others := 0, 0
		for range times {
			changes, compared := Initcalls(initcallsOf(r, c.boots, 0), initcallsOf(r, c.boots, c.slow))
			if compared != 100 {
				t.Fatalf("%d compared", compared)
			}
			is := func(x Change) bool { return x.Initcall == "demo_init_0" }
			if slices.ContainsFunc(changes, is) {
				told++
			}
			if slices.ContainsFunc(changes, func(x Change) bool { return !is(x) }) {
				others++
			}
		}
		t.Logf("%d boots each, slower by %.0f %%: told in %d of %d, another one in %d", c.boots, 100*c.slow, told, times, others)
		if part := float64(told) / times; part < c.low || part > c.high+0.1 || others > 3 {
			t.Errorf("%d boots, %.2f slower: told %d, others %d", c.boots, c.slow, told, others)
		}
	}
}

// What a boot does not list took less than a millisecond.
func TestInitcallThatWasNotListed(t *testing.T) {
	list := func(took float64) (out []store.InitcallTime) {
		for run := range int64(10) {
			out = append(out, store.InitcallTime{Run: run, Name: "always", Took: 0.1})
			if took > 0 {
				out = append(out, store.InitcallTime{Run: run, Name: "demo_init", Took: took + float64(run)/1000})
			}
		}
		return out
	}
	changes, compared := Initcalls(list(0), list(0.3))
	if compared != 2 || len(changes) != 1 || changes[0].Verdict != Slower || changes[0].Initcall != "demo_init" {
		t.Errorf("%d compared: %v", compared, changes)
	}
	if changes, _ := Initcalls(list(0.3), list(0)); len(changes) != 1 || changes[0].Verdict != Faster {
		t.Errorf("the other way: %v", changes)
	}
	if _, compared := Initcalls(list(0), nil); compared != 0 {
		t.Error("one side alone was compared")
	}
}
