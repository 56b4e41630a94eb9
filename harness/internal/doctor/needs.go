// Package doctor says which programs and files unwedge needs, which are missing, what each is
// for, and which command installs it. It installs nothing.
package doctor

import (
	"github.com/unwedge/unwedge/images/hostpkg"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// Manager is a package manager.
type Manager = hostpkg.Manager

// The package managers whose commands are known.
const (
	APT    = hostpkg.APT
	DNF    = hostpkg.DNF
	Pacman = hostpkg.Pacman
	Zypper = hostpkg.Zypper
)

// Managers lists them in the order they are looked for.
func Managers() []Manager { return hostpkg.Managers() }

// Need is one thing that unwedge uses.
type Need struct {
	// Name is the program, or the file where it starts with a slash.
	Name string
	// Or are other files that do as well, where distributions differ.
	Or []string
	// For says what it is used for.
	For string
	// Packages hold it, by manager; a manager that is not there has none.
	Packages hostpkg.Packages
	// Optional is true where unwedge does most of its work without it.
	Optional bool
}

// Needs lists everything, the indispensable first.
func Needs() []Need {
	var needs []Need
	for _, a := range arch.All() {
		needs = append(needs, Need{Name: a.Facts().QEMU, For: "boots " + string(a) + " guests", Packages: hostpkg.Of(a.Facts().QEMUPackages)})
	}
	for _, a := range arch.All() {
		files := a.Facts().UEFI
		n := Need{Name: files[0].Code, For: "starts " + string(a) + " guests and disks by UEFI", Packages: hostpkg.Of(a.Facts().UEFIPackages), Optional: true}
		for _, f := range files[1:] {
			n.Or = append(n.Or, f.Code)
		}
		needs = append(needs, n)
	}
	return append(needs,
		Need{Name: "mke2fs", For: "makes the guests' disks", Packages: hostpkg.Everywhere("e2fsprogs")},
		Need{Name: "apt-get", For: "fetches kernels and images' packages from the Debian archive, signatures checked",
			Packages: hostpkg.Packages{DNF: "apt", Pacman: "apt"}},
		Need{Name: "/usr/share/keyrings/debian-archive-keyring.gpg", For: "checks the Debian archive's signatures",
			Packages: hostpkg.Packages{APT: "debian-archive-keyring", DNF: "debian-keyring", Pacman: "debian-archive-keyring", Zypper: "debian-archive-keyring"}},
		Need{Name: "mount", For: "lays out the root file system in which dracut runs, in a namespace of its own",
			Packages: hostpkg.Packages{APT: "mount", DNF: "util-linux-core", Pacman: "util-linux", Zypper: "util-linux"}},
		Need{Name: "chroot", For: "runs dracut in that root file system", Packages: hostpkg.Everywhere("coreutils")},
	)
}
