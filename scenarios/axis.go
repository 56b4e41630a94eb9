package scenarios

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/unwedge/unwedge/scenarios/arch"
	"github.com/unwedge/unwedge/scenarios/release"
)

// Axis is a list of values, each of which makes cells of its own. YAML may give a
// single value without a list.
type Axis[T any] []T

// UnmarshalYAML implements yaml.Unmarshaler.
func (a *Axis[T]) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.SequenceNode {
		var all []T
		if err := n.Decode(&all); err != nil {
			return err
		}
		*a = all
		return nil
	}
	var one T
	if err := n.Decode(&one); err != nil {
		return err
	}
	*a = Axis[T]{one}
	return nil
}

// Cmdlines are lists of words for the kernel command line, each of which makes cells of
// its own. YAML gives one list of words, or a list of such lists.
type Cmdlines [][]string

// UnmarshalYAML implements yaml.Unmarshaler.
func (c *Cmdlines) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.SequenceNode {
		return fmt.Errorf("line %d: cmdline: use a list of words, or a list of such lists", n.Line)
	}
	lists := slices.ContainsFunc(n.Content, func(n *yaml.Node) bool { return n.Kind == yaml.SequenceNode })
	if lists {
		var all [][]string
		if err := n.Decode(&all); err != nil {
			return err
		}
		*c = all
		return nil
	}
	var words []string
	if err := n.Decode(&words); err != nil {
		return err
	}
	*c = Cmdlines{words}
	return nil
}

// axis is one way in which the cells of a template differ.
type axis struct {
	// name is the field's in YAML, values how many it has, at least one.
	name   string
	values func(Template) int
	// put gives a cell the value, word is how its name tells it, "" where it has none.
	put  func(*Scenario, Template, int)
	word func(Scenario) string
	// always: the name of a cell has the value also where there is one only, without
	// the field's name.
	always bool
}

// axes are all there are, the slowest first.
var axes = []axis{
	{name: "arch", always: true, values: count(func(t Template) []arch.Arch { return or(t.Arch, arch.All()...) }),
		put:  func(s *Scenario, t Template, i int) { s.Arch = or(t.Arch, arch.All()...)[i] },
		word: func(s Scenario) string { return string(s.Arch) }},
	{name: "entropy", always: true, values: count(func(t Template) []Entropy { return or(t.Entropy, VirtioRNG) }),
		put:  func(s *Scenario, t Template, i int) { s.Entropy = or(t.Entropy, VirtioRNG)[i] },
		word: func(s Scenario) string { return string(s.Entropy) }},
	{name: "initramfs", always: true, values: count(func(t Template) []Initramfs { return or(t.Initramfs, Tiny) }),
		put: func(s *Scenario, t Template, i int) {
			if s.Initramfs = or(t.Initramfs, Tiny)[i]; isPath(string(s.Initramfs)) {
				s.Initramfs, s.Initrd = OwnInitrd, string(s.Initramfs)
			}
		},
		word: func(s Scenario) string {
			if s.Initrd != "" {
				return filepath.Base(s.Initrd)
			}
			return string(s.Initramfs)
		}},
	{name: "image_release", values: count(func(t Template) []release.Release { return or(t.ImageRelease, "") }),
		put:  func(s *Scenario, t Template, i int) { s.ImageRelease = or(t.ImageRelease, "")[i] },
		word: func(s Scenario) string { return string(s.ImageRelease.OrDefault()) }},
	{name: "root", values: count(func(t Template) []Root { return or(t.Root, NoRoot) }),
		put: func(s *Scenario, t Template, i int) {
			if s.Root = or(t.Root, NoRoot)[i]; isPath(string(s.Root)) {
				s.Root, s.RootDir = DirRoot, string(s.Root)
			}
		},
		word: func(s Scenario) string {
			if s.RootDir != "" {
				return filepath.Base(s.RootDir)
			}
			return string(s.Root)
		}},
	{name: "disk", values: count(func(t Template) []string { return or(t.Disk, "") }),
		put:  func(s *Scenario, t Template, i int) { s.Disk = or(t.Disk, "")[i] },
		word: func(s Scenario) string { return filepath.Base(s.Disk) }},
	{name: "firmware", values: count(func(t Template) []Firmware { return or(t.Firmware, "") }),
		put:  func(s *Scenario, t Template, i int) { s.Firmware = or(t.Firmware, "")[i] },
		word: func(s Scenario) string { return string(s.Firmware) }},
	{name: "machine", values: count(func(t Template) []string { return or(t.Machine, "") }),
		put:  func(s *Scenario, t Template, i int) { s.Machine = or(t.Machine, "")[i] },
		word: func(s Scenario) string { return s.Machine }},
	{name: "cpu_model", values: count(func(t Template) []string { return or(t.CPUModel, "") }),
		put:  func(s *Scenario, t Template, i int) { s.CPUModel = or(t.CPUModel, "")[i] },
		word: func(s Scenario) string { return s.CPUModel }},
	{name: "cpus", values: count(func(t Template) []int { return or(t.CPUs, defaultCPUs) }),
		put:  func(s *Scenario, t Template, i int) { s.CPUs = or(t.CPUs, defaultCPUs)[i] },
		word: func(s Scenario) string { return strconv.Itoa(s.CPUs) }},
	{name: "memory_mib", values: count(func(t Template) []int { return or(t.MemoryMiB, defaultMemoryMiB) }),
		put:  func(s *Scenario, t Template, i int) { s.MemoryMiB = or(t.MemoryMiB, defaultMemoryMiB)[i] },
		word: func(s Scenario) string { return strconv.Itoa(s.MemoryMiB) }},
	{name: "cmdline", values: count(func(t Template) [][]string { return or(t.Cmdline, nil) }),
		put:  func(s *Scenario, t Template, i int) { s.Cmdline = or(t.Cmdline, nil)[i] },
		word: func(s Scenario) string { return strings.Join(s.Cmdline, "+") }},
}

func count[T any](values func(Template) []T) func(Template) int {
	return func(t Template) int { return len(values(t)) }
}

const defaultCPUs, defaultMemoryMiB = 1, 512

// isPath tells a file or directory from a kind.
func isPath(s string) bool { return strings.Contains(s, "/") }

// Exclude leaves out the cells that have one of the values in each field that it names.
type Exclude struct {
	Arch      Axis[arch.Arch] `yaml:"arch"`
	Entropy   Axis[Entropy]   `yaml:"entropy"`
	Initramfs Axis[Initramfs] `yaml:"initramfs"`
	// ImageRelease is the scenario's, also where it is the default's.
	ImageRelease Axis[release.Release] `yaml:"image_release"`
	Root         Axis[Root]            `yaml:"root"`
	Disk         Axis[string]          `yaml:"disk"`
	Firmware     Axis[Firmware]        `yaml:"firmware"`
	Machine      Axis[string]          `yaml:"machine"`
	CPUModel     Axis[string]          `yaml:"cpu_model"`
	CPUs         Axis[int]             `yaml:"cpus"`
	MemoryMiB    Axis[int]             `yaml:"memory_mib"`
	Cmdline      Cmdlines              `yaml:"cmdline"`
}

// has says whether the cell is one of those.
func (e Exclude) has(s Scenario) bool {
	words := Axis[string]{}
	for _, c := range e.Cmdline {
		words = append(words, strings.Join(c, " "))
	}
	initramfs, root := s.Initramfs, s.Root
	if s.Initrd != "" {
		initramfs = Initramfs(s.Initrd)
	}
	if s.RootDir != "" {
		root = Root(s.RootDir)
	}
	return within(e.Arch, s.Arch) && within(e.Entropy, s.Entropy) && within(e.Initramfs, initramfs) &&
		within(e.ImageRelease, s.ImageRelease.OrDefault()) && within(e.Root, root) &&
		within(e.Disk, s.Disk) && within(e.Firmware, s.Firmware) && within(e.Machine, s.Machine) && within(e.CPUModel, s.CPUModel) &&
		within(e.CPUs, s.CPUs) && within(e.MemoryMiB, s.MemoryMiB) && within(words, strings.Join(s.Cmdline, " "))
}

func within[T comparable](a Axis[T], v T) bool { return len(a) == 0 || slices.Contains(a, v) }

// empty says that it names nothing, and would leave out everything.
func (e Exclude) empty() bool {
	return len(e.Arch)+len(e.Entropy)+len(e.Initramfs)+len(e.ImageRelease)+len(e.Root)+len(e.Disk)+len(e.Firmware)+len(e.Machine)+
		len(e.CPUModel)+len(e.CPUs)+len(e.MemoryMiB)+len(e.Cmdline) == 0
}

// maxCells bounds the cells of one template.
const maxCells = 10_000

// check says what is wrong with the axes as such.
func (t Template) check() error {
	n := 1
	for _, a := range axes {
		if n *= a.values(t); n > maxCells {
			return fmt.Errorf("scenario %s has more than %d cells: make it several", t.Name, maxCells)
		}
	}
	if slices.ContainsFunc(t.Exclude, Exclude.empty) {
		return fmt.Errorf("scenario %s: exclude: an entry names nothing, so that it excludes every cell", t.Name)
	}
	if len(t.Cells()) == 0 {
		return fmt.Errorf("scenario %s: exclude leaves no cell", t.Name)
	}
	return nil
}

// Cells expands the axes, the first slowest, in the order that the template gives.
func (t Template) Cells() []Scenario {
	cells := []Scenario{t.base()}
	for _, a := range axes {
		var next []Scenario
		for _, c := range cells {
			for i := range a.values(t) {
				cell := c
				a.put(&cell, t, i)
				switch n := a.values(t); {
				case a.always:
					cell.Name += "/" + a.word(cell)
				case n > 1:
					cell.Name += "/" + a.name + "=" + strings.ReplaceAll(a.word(cell), "/", "_")
				}
				next = append(next, cell)
			}
		}
		cells = next
	}
	return slices.DeleteFunc(cells, func(s Scenario) bool {
		return slices.ContainsFunc(t.Exclude, func(e Exclude) bool { return e.has(s) })
	})
}

// paths makes the paths of a template absolute: they are relative to a directory.
func (t *Template) paths(dir string) {
	abs := func(p string) string {
		if !isPath(p) || filepath.IsAbs(p) {
			return p
		}
		return filepath.Join(dir, p)
	}
	each := func(initramfs Axis[Initramfs], root Axis[Root], disks Axis[string]) {
		for i, v := range initramfs {
			initramfs[i] = Initramfs(abs(string(v)))
		}
		for i, v := range root {
			root[i] = Root(abs(string(v)))
		}
		for i, v := range disks {
			if v != "" && !filepath.IsAbs(v) {
				disks[i] = filepath.Join(dir, v)
			}
		}
	}
	each(t.Initramfs, t.Root, t.Disk)
	for _, e := range t.Exclude {
		each(e.Initramfs, e.Root, e.Disk)
	}
}
