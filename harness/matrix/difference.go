package matrix

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/scenarios"
)

// Point is one cell of the grid: where it stands on the axes, and how it ended.
type Point struct {
	Scenario scenarios.Scenario
	Kernel   string // its release
	Accel    result.Accel
	Outcome  scenarios.Outcome // "" where the cell has no result
	Expected bool
}

// axis is one way in which cells differ: a point's value, and the words for it
// after a preposition.
type axis struct {
	value func(Point) string
	with  string
}

// The axes, in the order in which a sentence names them. dracut-fips is dracut
// with fips=1: a difference from dracut is that of fips=1, one from tiny need not
// be.
const (
	byArch = iota
	byEntropy
	byFIPS
	byInitramfs
	byKernel
	byAccel
	byRelease
	byRoot
	byDisk
	byFirmware
	byMachine
	byCPUModel
	byCPUs
	byMemory
	byCmdline
	byScenario
)

var axes = [...]axis{
	byArch:      {func(p Point) string { return string(p.Scenario.Arch) }, "on "},
	byEntropy:   {func(p Point) string { return string(p.Scenario.Entropy) }, "with entropy "},
	byFIPS:      {func(p Point) string { return fips[p.Scenario.Initramfs.FIPS()] }, ""},
	byInitramfs: {initramfs, "with initramfs "},
	byKernel:    {func(p Point) string { return p.Kernel }, "with kernel "},
	byAccel:     {func(p Point) string { return string(p.Accel) }, "under "},
	byRelease:   {func(p Point) string { return string(p.Scenario.ImageRelease.OrDefault()) }, "with images of "},
	byRoot:      {root, "with root "},
	byDisk:      {func(p Point) string { return cmp.Or(p.Scenario.Disk, "none") }, "with disk "},
	byFirmware:  {func(p Point) string { return string(cmp.Or(p.Scenario.Firmware, scenarios.DefaultFirmware)) }, "with firmware "},
	byMachine:   {func(p Point) string { return p.Scenario.MachineType().Name }, "on machine "},
	byCPUModel:  {func(p Point) string { return cmp.Or(p.Scenario.CPUModel, "by default") }, "with CPU model "},
	byCPUs:      {func(p Point) string { return strconv.Itoa(p.Scenario.CPUs) }, "with cpus "},
	byMemory:    {func(p Point) string { return strconv.Itoa(p.Scenario.MemoryMiB) + " MiB" }, "with memory "},
	byCmdline:   {func(p Point) string { return strconv.Quote(strings.Join(p.Scenario.Cmdline, " ")) }, "with cmdline "},
	byScenario:  {scenario, "in scenario "},
}

var fips = map[bool]string{true: "with fips=1", false: "without fips=1"}

func initramfs(p Point) string {
	return cmp.Or(p.Scenario.Initrd, strings.TrimSuffix(string(p.Scenario.Initramfs), "-fips"))
}

func root(p Point) string { return cmp.Or(p.Scenario.RootDir, string(p.Scenario.Root)) }

func scenario(p Point) string {
	name, _, _ := strings.Cut(p.Scenario.Name, "/")
	return name
}

// Difference says in one sentence what tells all cells that did not end as
// expected from all that did: "hangs only without virtio-rng and with fips=1". It
// is empty where nothing failed. It claims no more than the cells show: it names
// only conditions that separate the two exactly, all of them where several do, and
// says which conditions were seen in one combination only.
func Difference(points []Point) string {
	var failed, fine []Point
	for _, p := range points {
		switch {
		case p.Outcome == "":
		case p.Expected:
			fine = append(fine, p)
		default:
			failed = append(failed, p)
		}
	}
	known := len(failed) + len(fine)
	if len(failed) == 0 || known == 1 {
		return ""
	}
	verb := verbs(failed)
	if len(fine) == 0 {
		if known < len(points) {
			return fmt.Sprintf("%s in all %d cells with a result (of %d)", verb, known, len(points))
		}
		return fmt.Sprintf("%s in all %d cells", verb, known)
	}
	text := fmt.Sprintf("%s in %d of %d cells, with no single set of conditions that tells them from the others", verb, len(failed), known)
	if c := separate(failed, fine, " only "); c != "" {
		text = verb + c
	} else if c := separate(fine, failed, " except "); c != "" {
		text = verb + " everywhere" + c
	}
	if n := len(points) - known; n > 0 {
		text += fmt.Sprintf("; cells without a result: %d of %d", n, len(points))
	}
	return text
}

// conditions is a set of axes: the values that all points of one side have there.
type conditions uint

func (c conditions) has(axis int) bool { return c&(1<<axis) != 0 }

// separate says in words, each set of conditions after the word, what all points
// of in meet and none of out; "" where nothing does.
func separate(in, out []Point, word string) string {
	like, all := in[0], slices.Concat(in, out)
	var common conditions // all of in agree, and it excludes somebody
	for i, a := range axes {
		if i == byKernel && !choice(all, like.Scenario) {
			continue // it is the only one for its architecture
		}
		if i > byAccel && i < byScenario && !varies(all, a) {
			continue // it comes with its scenario
		}
		other := func(p Point) bool { return a.value(p) != a.value(like) }
		if !slices.ContainsFunc(in, other) && slices.ContainsFunc(out, other) {
			common |= 1 << i
		}
	}
	var said []string
	var named conditions
	fewest := len(axes)
	for set := conditions(1); set < 1<<len(axes); set++ {
		n := bits.OnesCount(uint(set))
		if set&^common != 0 || n > fewest || !excludes(set, like, out) {
			continue
		}
		if n < fewest {
			said, named, fewest = nil, 0, n
		}
		said, named = append(said, word+set.phrase(like, all)), named|set
	}
	switch len(said) {
	case 0:
		return ""
	case 1:
		if rest := untried(common&^named, named, like); rest != 0 {
			return said[0] + " (seen only " + rest.phrase(like, all) + ")"
		}
		return said[0]
	default:
		return strings.Join(said, ", or") + ": these cells cannot tell which"
	}
}

// varies says whether cells of one scenario and architecture differ on an axis.
func varies(points []Point, a axis) bool {
	type group struct{ scenario, arch string }
	seen := map[group]string{}
	for _, p := range points {
		g, v := group{scenario(p), string(p.Scenario.Arch)}, a.value(p)
		if was, ok := seen[g]; ok && was != v {
			return true
		}
		seen[g] = v
	}
	return false
}

// choice says whether cells of the architecture differ in the kernel.
func choice(points []Point, like scenarios.Scenario) bool {
	kernel := ""
	for _, p := range points {
		if p.Scenario.Arch != like.Arch {
			continue
		}
		if kernel != "" && p.Kernel != kernel {
			return true
		}
		kernel = p.Kernel
	}
	return false
}

// excludes says whether no point of out meets all conditions of the set.
func excludes(set conditions, like Point, out []Point) bool {
	return !slices.ContainsFunc(out, func(p Point) bool {
		for i, a := range axes {
			if set.has(i) && a.value(p) != a.value(like) {
				return false
			}
		}
		return true
	})
}

// untried leaves of the conditions that all cells of one side share, and that need
// not be named, those that could have been otherwise: only dracut has FIPS, and a
// kernel has one architecture.
func untried(rest, named conditions, like Point) conditions {
	switch {
	case named.has(byFIPS) && like.Scenario.Initramfs.FIPS():
		rest &^= 1 << byInitramfs
	case named.has(byInitramfs) && !like.Scenario.Initramfs.Systemd():
		rest &^= 1 << byFIPS
	}
	if named.has(byKernel) {
		rest &^= 1 << byArch
	}
	return rest
}

// phrase names the conditions: "on aarch64 without virtio-rng and with fips=1".
func (c conditions) phrase(like Point, all []Point) string {
	var words []string
	seeded := slices.ContainsFunc(all, func(p Point) bool { return p.Scenario.Entropy.Seeded() })
	for i, a := range axes {
		switch e := like.Scenario.Entropy; {
		case !c.has(i):
		case i == byEntropy && e.Device():
			words = append(words, "with virtio-rng")
		case i == byEntropy && !seeded: // else there are others without it
			words = append(words, "without virtio-rng")
		default:
			words = append(words, a.with+a.value(like))
		}
	}
	if c.has(byArch) && len(words) > 1 {
		words = slices.Concat([]string{words[0] + " " + words[1]}, words[2:])
	}
	return strings.Join(words, " and ")
}

// verbs says what the failed cells do.
func verbs(failed []Point) string {
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
