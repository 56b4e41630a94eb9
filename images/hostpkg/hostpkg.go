// Package hostpkg knows the host's package managers: which one there is, and the
// command that installs packages with it. It installs nothing.
package hostpkg

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/scenarios/arch"
)

// Manager is a package manager.
type Manager string

// The package managers whose commands are known.
const (
	APT    Manager = "apt"
	DNF    Manager = "dnf"
	Pacman Manager = "pacman"
	Zypper Manager = "zypper"
)

// Managers lists them in the order they are looked for: the native one of a
// distribution first (Fedora and others package apt too).
func Managers() []Manager { return []Manager{DNF, Pacman, Zypper, APT} }

// command is how each installs packages.
var command = map[Manager]string{
	APT:    "apt-get install -y --no-install-recommends",
	DNF:    "dnf install -y",
	Pacman: "pacman -S --needed",
	Zypper: "zypper install -y",
}

// program is the one that shows that a manager is installed.
var program = map[Manager]string{APT: "apt-get", DNF: "dnf", Pacman: "pacman", Zypper: "zypper"}

// Detect finds the host's package manager, "" where none is known. lookPath finds a
// program, as exec.LookPath does.
func Detect(lookPath func(string) (string, error)) Manager {
	for _, m := range Managers() {
		if _, err := lookPath(program[m]); err == nil {
			return m
		}
	}
	return ""
}

// LookPath finds a program as exec.LookPath does, and where Debian keeps mke2fs and
// chroot, out of an ordinary user's PATH.
func LookPath(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil || strings.Contains(name, "/") {
		return path, err
	}
	for _, dir := range sbin {
		if path, sbinErr := exec.LookPath(filepath.Join(dir, name)); sbinErr == nil {
			return path, nil
		}
	}
	return "", err
}

var sbin = []string{"/usr/local/sbin", "/usr/sbin", "/sbin"}

// Path is PATH with the directories in which LookPath looks beside.
func Path() string { return strings.Join(append([]string{os.Getenv("PATH")}, sbin...), ":") }

// Packages are the packages that hold one thing, by manager; several are separated
// by spaces. A manager that is not there has none.
type Packages map[Manager]string

// Of has the packages that the table of architectures names.
func Of(p arch.Packages) Packages {
	return Packages{APT: p.APT, DNF: p.DNF, Pacman: p.Pacman, Zypper: p.Zypper}
}

// Everywhere is for what all distributions call the same.
func Everywhere(name string) Packages {
	p := Packages{}
	for _, m := range Managers() {
		p[m] = name
	}
	return p
}

// Command is the command that installs what several things are held by, "" where no
// package of that manager holds any.
func Command(m Manager, root bool, things ...Packages) string {
	var names []string
	for _, t := range things {
		for _, one := range strings.Fields(t[m]) {
			if !slices.Contains(names, one) {
				names = append(names, one)
			}
		}
	}
	if len(names) == 0 || command[m] == "" {
		return ""
	}
	sudo := "sudo "
	if root {
		sudo = ""
	}
	return sudo + command[m] + " " + strings.Join(names, " ")
}
