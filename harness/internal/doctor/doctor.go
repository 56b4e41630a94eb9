package doctor

import (
	"slices"
	"strings"

	"github.com/unwedge/unwedge/images/hostpkg"
)

// Found is one Need and whether the host has it.
type Found struct {
	Need
	// Path is where it is, "" where it is missing.
	Path string
}

// Host is how the doctor examines the host; tests have their own.
type Host struct {
	// LookPath finds a program (exec.LookPath), Exists a file.
	LookPath func(string) (string, error)
	Exists   func(string) bool
	// Root says whether the user may install packages without sudo.
	Root bool
}

// Examination is what the doctor found.
type Examination struct {
	Found   []Found
	Manager Manager // "" where none is known
	root    bool
}

// Examine looks for all Needs.
func Examine(h Host) Examination {
	e := Examination{root: h.Root}
	for _, n := range Needs() {
		f := Found{Need: n}
		if strings.HasPrefix(n.Name, "/") {
			for _, file := range append([]string{n.Name}, n.Or...) {
				if f.Path == "" && h.Exists(file) {
					f.Path = file
				}
			}
		} else if p, err := h.LookPath(n.Name); err == nil {
			f.Path = p
		}
		e.Found = append(e.Found, f)
	}
	e.Manager = hostpkg.Detect(h.LookPath)
	return e
}

// Missing returns what is missing, the optional last.
func (e Examination) Missing() []Found {
	var out []Found
	for _, f := range e.Found {
		if f.Path == "" {
			out = append(out, f)
		}
	}
	slices.SortStableFunc(out, func(a, b Found) int {
		switch {
		case a.Optional == b.Optional:
			return 0
		case a.Optional:
			return 1
		default:
			return -1
		}
	})
	return out
}

// Healthy says that nothing indispensable is missing.
func (e Examination) Healthy() bool {
	return !slices.ContainsFunc(e.Missing(), func(f Found) bool { return !f.Optional })
}

// Command returns the command that installs what is missing, "" where nothing
// is or the distribution is not known; unpackaged names what this
// distribution's packages do not hold.
func (e Examination) Command() (command string, unpackaged []string) {
	return e.CommandFor(e.Manager)
}

// CommandFor is Command for another package manager.
func (e Examination) CommandFor(m Manager) (cmd string, unpackaged []string) {
	var packages []hostpkg.Packages
	for _, f := range e.Missing() {
		if f.Packages[m] == "" {
			unpackaged = append(unpackaged, f.Name)
		}
		packages = append(packages, f.Packages)
	}
	return hostpkg.Command(m, e.root, packages...), unpackaged
}
