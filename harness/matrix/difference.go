package matrix

import (
	"fmt"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/scenarios"
)

// Point is one finished cell: where it stands on the axes, and how it ended.
type Point struct {
	Scenario scenarios.Scenario
	Kernel   string // its release
	Outcome  scenarios.Outcome
	Expected bool
}

// axis is one way in which cells differ.
type axis struct {
	value  func(Point) string
	phrase func(value string) string
}

// axes are in the order in which a sentence names them.
var axes = []axis{
	{func(p Point) string { return string(p.Scenario.Arch) }, func(v string) string { return "on " + v }},
	{func(p Point) string { return string(p.Scenario.Entropy) }, entropyPhrase},
	{func(p Point) string { return string(p.Scenario.Initramfs) }, initramfsPhrase},
	{func(p Point) string { return p.Kernel }, func(v string) string { return "with kernel " + v }},
	{func(p Point) string { name, _, _ := strings.Cut(p.Scenario.Name, "/"); return name },
		func(v string) string { return "in scenario " + v }},
}

func entropyPhrase(v string) string {
	switch scenarios.Entropy(v) {
	case scenarios.None:
		return "without virtio-rng"
	case scenarios.VirtioRNG:
		return "with virtio-rng"
	default:
		return "with entropy " + v
	}
}

func initramfsPhrase(v string) string {
	switch scenarios.Initramfs(v) {
	case scenarios.DracutFIPS:
		return "with fips=1"
	case scenarios.Dracut:
		return "without fips=1"
	default:
		return "with initramfs " + v
	}
}

// Difference says in one sentence what the cells that did not end as expected
// have in common and the others have not: "hangs only without virtio-rng and
// with fips=1". It is empty where nothing failed, and never claims more than
// the cells show.
func Difference(points []Point) string {
	var failed, fine []Point
	for _, p := range points {
		if p.Expected {
			fine = append(fine, p)
		} else {
			failed = append(failed, p)
		}
	}
	verb := verbs(failed)
	switch {
	case len(failed) == 0:
		return ""
	case len(fine) == 0 && len(points) > 1:
		return fmt.Sprintf("%s in all %d cells", verb, len(points))
	case len(fine) == 0:
		return ""
	}
	if c := separate(failed, fine); c != nil {
		return verb + " only " + strings.Join(c, " and ")
	}
	if c := separate(fine, failed); c != nil {
		return verb + " everywhere but " + strings.Join(c, " and ")
	}
	return fmt.Sprintf("%s in %d of %d cells, with no single set of conditions that tells them from the others", verb, len(failed), len(points))
}

// separate finds the fewest conditions that all points of in meet and none of
// out, as phrases; nil where there are none.
func separate(in, out []Point) []string {
	var common []int // axes on which all of in agree and that exclude somebody
	for i, a := range axes {
		v := a.value(in[0])
		same := !slices.ContainsFunc(in, func(p Point) bool { return a.value(p) != v })
		if same && slices.ContainsFunc(out, func(p Point) bool { return a.value(p) != v }) {
			common = append(common, i)
		}
	}
	best := -1
	for set := 1; set < 1<<len(common); set++ {
		if excludes(set, common, in[0], out) && (best < 0 || bits(set) < bits(best)) {
			best = set
		}
	}
	if best < 0 {
		return nil
	}
	var phrases []string
	for b, i := range common {
		if best&(1<<b) != 0 {
			phrases = append(phrases, axes[i].phrase(axes[i].value(in[0])))
		}
	}
	return phrases
}

// excludes says whether no point of out meets all conditions of the set.
func excludes(set int, common []int, like Point, out []Point) bool {
	return !slices.ContainsFunc(out, func(p Point) bool {
		for b, i := range common {
			if set&(1<<b) != 0 && axes[i].value(p) != axes[i].value(like) {
				return false
			}
		}
		return true
	})
}

func bits(n int) (count int) {
	for ; n > 0; n &= n - 1 {
		count++
	}
	return count
}

// verbs says what the failed cells do.
func verbs(failed []Point) string {
	if len(failed) == 0 {
		return ""
	}
	first := failed[0].Outcome
	if slices.ContainsFunc(failed, func(p Point) bool { return p.Outcome != first }) {
		return "fails"
	}
	switch first {
	case scenarios.Hung:
		return "hangs"
	case scenarios.Panicked:
		return "panics"
	case scenarios.Rebooting:
		return "reboots"
	case scenarios.Stopped:
		return "stops"
	default:
		return "fails"
	}
}
