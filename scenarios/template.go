package scenarios

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/unwedge/unwedge/scenarios/arch"
	"github.com/unwedge/unwedge/scenarios/release"
)

// Template is a scenario with axes: each combination of the values of those fields that
// are an Axis is one Scenario, but for those that Exclude leaves out. It is what the
// YAML files hold.
type Template struct {
	Name        string          `yaml:"name"`
	Description string          `yaml:"description"`
	Arch        Axis[arch.Arch] `yaml:"arch"`      // default: all
	Entropy     Axis[Entropy]   `yaml:"entropy"`   // default: virtio-rng
	Initramfs   Axis[Initramfs] `yaml:"initramfs"` // default: tiny; with a slash it is a file
	// ImageRelease is the distribution release of dracut's images and the ext4 root.
	ImageRelease Axis[release.Release] `yaml:"image_release"`
	Root         Axis[Root]            `yaml:"root"` // default: none; with a slash it is a directory
	Disk         Axis[string]          `yaml:"disk"`
	Firmware     Axis[Firmware]        `yaml:"firmware"`
	Machine      Axis[string]          `yaml:"machine"`
	CPUModel     Axis[string]          `yaml:"cpu_model"`
	CPUs         Axis[int]             `yaml:"cpus"`       // default: 1
	MemoryMiB    Axis[int]             `yaml:"memory_mib"` // default: 512
	Cmdline      Cmdlines              `yaml:"cmdline"`
	Exclude      []Exclude             `yaml:"exclude"`
	Modules      []string              `yaml:"modules"`
	Network      bool                  `yaml:"network"`
	WithAgent    bool                  `yaml:"with_agent"`
	BootDisk     bool                  `yaml:"boot_disk"`
	Devices      []string              `yaml:"devices"`
	QEMUArgs     []string              `yaml:"qemu_args"`
	WrongHMAC    bool                  `yaml:"wrong_hmac"`
	SeedLibrary  bool                  `yaml:"seed_library"`
	Deadline     time.Duration         `yaml:"deadline"`
	// Without is Scenario's.
	Without []Facility `yaml:"without"`
	// ExternalModule is Scenario's.
	ExternalModule bool   `yaml:"external_module"`
	Expect         Expect `yaml:"expect"`
}

// Catalogue is an ordered set of templates with distinct names.
type Catalogue []Template

//go:embed catalogue.yaml
var builtin []byte

// Builtin returns the scenarios that come with unwedge.
func Builtin() Catalogue {
	c, err := Read(bytes.NewReader(builtin))
	if err != nil {
		panic("built-in catalogue: " + err.Error()) // a test reads it
	}
	return c
}

// Load reads a catalogue from a user's file. Paths in it are relative to its directory.
func Load(path string) (Catalogue, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read scenarios: %w", err)
	}
	defer f.Close()
	c, err := Read(io.LimitReader(f, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("read scenarios %s: %w", path, err)
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("read scenarios %s: %w", path, err)
	}
	for i := range c {
		c[i].paths(dir)
	}
	return c, nil
}

// Read reads a catalogue and checks each cell of it. Unknown fields are errors,
// so that a misspelt one is never silently without effect.
func Read(r io.Reader) (Catalogue, error) {
	var file struct {
		Scenarios Catalogue `yaml:"scenarios"`
	}
	dec := yaml.NewDecoder(r)
	dec.KnownFields(true)
	if err := dec.Decode(&file); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("the file is empty")
		}
		return nil, oneLine(err)
	}
	if len(file.Scenarios) == 0 {
		return nil, errors.New("no scenarios in the file: it must hold a list named scenarios")
	}
	seen := map[string]bool{}
	for _, t := range file.Scenarios {
		if t.Name == "" || strings.ContainsAny(t.Name, "/ \t\n") {
			return nil, fmt.Errorf("scenario name %q: use one word without slashes", t.Name)
		}
		if seen[t.Name] {
			return nil, fmt.Errorf("scenario %s appears twice", t.Name)
		}
		seen[t.Name] = true
		if err := t.check(); err != nil {
			return nil, err
		}
		for _, s := range t.Cells() {
			if err := s.Validate(); err != nil {
				return nil, err
			}
		}
	}
	return file.Scenarios, nil
}

func oneLine(err error) error {
	return errors.New(strings.Join(strings.Fields(err.Error()), " "))
}

// Find returns the named template, or an error that lists the names there are.
func (c Catalogue) Find(name string) (Template, error) {
	i := slices.IndexFunc(c, func(t Template) bool { return t.Name == name })
	if i < 0 {
		return Template{}, fmt.Errorf("no scenario %q: use one of %s", name, strings.Join(c.Names(), ", "))
	}
	return c[i], nil
}

// Names lists the templates' names in order.
func (c Catalogue) Names() []string {
	var names []string
	for _, t := range c {
		names = append(names, t.Name)
	}
	return names
}

// base is a cell before the axes give it their values.
func (t Template) base() Scenario {
	return Scenario{
		Name: t.Name, Description: t.Description, Modules: t.Modules, Network: t.Network,
		WithAgent: t.WithAgent, BootDisk: t.BootDisk, Devices: t.Devices, QEMUArgs: t.QEMUArgs,
		WrongHMAC: t.WrongHMAC, SeedLibrary: t.SeedLibrary, ExternalModule: t.ExternalModule,
		Without: t.Without, Deadline: t.Deadline, Expect: t.Expect,
	}
}

func or[T any](vs []T, def ...T) []T {
	if len(vs) == 0 {
		return def
	}
	return vs
}

// With returns the catalogue with another's templates; one of the same name
// replaces the one that was there.
func (c Catalogue) With(other Catalogue) Catalogue {
	out := slices.Clone(c)
	for _, t := range other {
		if i := slices.IndexFunc(out, func(o Template) bool { return o.Name == t.Name }); i >= 0 {
			out[i] = t
			continue
		}
		out = append(out, t)
	}
	return out
}
