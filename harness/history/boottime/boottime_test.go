package boottime

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/harness/history/store"
)

// boots are times of a stage with some noise and, as real ones have, a few late ones.
func boots(r *rand.Rand, n int, mean, noise float64) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = mean * math.Exp(noise*r.NormFloat64())
		if r.IntN(10) == 0 {
			out[i] *= 1 + 0.3*r.Float64()
		}
	}
	return out
}

// simulate is the part of experiments that are significant, and that are told as slower.
func simulate(boot, times int, slow, noise float64) (significant, slower float64) {
	r := rand.New(rand.NewPCG(7, uint64(boot)))
	for range times {
		c := Of(boots(r, boot, 12, noise), boots(r, boot, 12*(1+slow), noise))
		if c.P < Alpha {
			significant++
		}
		if c.Verdict == Slower {
			slower++
		}
	}
	return significant / float64(times), slower / float64(times)
}

// Without a change, one comparison in a hundred at most is significant: the bound is four
// standard deviations above that.
func TestFalseAlarms(t *testing.T) {
	const times = 1500
	bound := Alpha + 4*math.Sqrt(Alpha*(1-Alpha)/times)
	for _, n := range []int{5, 10, 20} {
		significant, slower := simulate(n, times, 0, 0.05)
		t.Logf("%d boots each: %.4f significant, %.4f told as slower", n, significant, slower)
		if significant > bound || slower > Alpha/2+4*math.Sqrt(Alpha/2/times) {
			t.Errorf("%d boots: %.4f significant, %.4f slower", n, significant, slower)
		}
	}
}

// Boots that spread by 2 %, one in ten of them late for another reason: ten of each show a
// slow-down of 5 % as significant three times in four, twenty nearly always. Half of those
// are told, as the estimate falls on either side of the 5 % that are asked for; 8 % is told
// by ten boots more than four times in five.
func TestPower(t *testing.T) {
	for _, c := range []struct {
		boots               int
		slow, noise         float64
		significant, slower float64
	}{{10, 0.05, 0.02, 0.65, 0.35}, {10, 0.08, 0.02, 0.80, 0.80}, {20, 0.05, 0.02, 0.93, 0.40}, {20, 0.10, 0.05, 0.90, 0.90}} {
		significant, slower := simulate(c.boots, 300, c.slow, c.noise)
		t.Logf("%d boots each, spread %.0f %%, slower by %.0f %%: %.3f significant, %.3f told", c.boots, 100*c.noise, 100*c.slow, significant, slower)
		if significant < c.significant || slower < c.slower {
			t.Errorf("%+v: %.3f significant, %.3f told", c, significant, slower)
		}
	}
}

func TestKVMIsNotComparedWithTCG(t *testing.T) {
	set := func(accel string, at float64) (out []store.StageTime) {
		for i := range 10 {
			out = append(out, store.StageTime{Cell: store.Cell{Name: "tiny"}, Host: store.Host{Accel: accel, QEMU: "7.2"}, Stage: "init", At: at + float64(i)/100})
		}
		return out
	}
	if got := Compare(set("kvm", 1), set("tcg", 9)); len(got) != 0 {
		t.Errorf("compared: %+v", got)
	}
	got := Compare(append(set("tcg", 8), set("kvm", 1)...), append(set("tcg", 9), set("kvm", 1)...))
	if len(got) != 2 || got[0].Verdict != "" || got[1].Verdict != Slower || got[1].String() != "slower: init +1.0 s (+12 %)" {
		t.Errorf("%+v", got)
	}
	if got := Compare(set("tcg", 8)[:4], set("tcg", 9)); len(got) != 0 {
		t.Errorf("of four boots: %+v", got)
	}
	if !strings.Contains((Change{Stage: "init"}).String(), "no change") {
		t.Error("a change without a verdict")
	}
}
