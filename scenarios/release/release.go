// Package release is the table of the distribution releases whose user space guests are
// given: a row is all that another one needs. Code elsewhere asks for a fact of a
// release and never for its name. The package imports nothing of the project.
package release

import (
	"slices"
	"strings"
)

// Release names a release, as Scenario.ImageRelease holds it. "" is Default.
type Release string

// Default is the release that guests are given where nobody asks for another one.
const Default Release = "bookworm"

// Facts are what the images of a release are made from.
type Facts struct {
	// Suite is the Debian archive's name of the release.
	Suite string
	// Packages are those that it needs beside what every release has.
	Packages []string
}

type row struct {
	name  Release
	facts Facts
}

// Each row says what is special about the release: its systemd, dracut and libgcrypt.
var table = []row{
	// systemd 252, linked against libgcrypt 1.10; dracut 059.
	{"bookworm", Facts{Suite: "bookworm"}},
	// systemd 257, which opens libgcrypt 1.11 when it first needs it (dlopen), so that no
	// package depends on it; dracut 106.
	{"trixie", Facts{Suite: "trixie", Packages: []string{"libgcrypt20"}}},
}

// All lists the releases, the oldest first.
func All() []Release {
	var all []Release
	for _, r := range table {
		all = append(all, r.name)
	}
	return all
}

// List names the releases for a message.
func List() string {
	var names []string
	for _, r := range All() {
		names = append(names, string(r))
	}
	return strings.Join(names, ", ")
}

// OrDefault is the release, Default for "".
func (r Release) OrDefault() Release {
	if r == "" {
		return Default
	}
	return r
}

// Valid says that there is such a release.
func (r Release) Valid() bool { return slices.Contains(All(), r.OrDefault()) }

// Facts returns the release's, the zero value for one that there is not.
func (r Release) Facts() Facts {
	for _, row := range table {
		if row.name == r.OrDefault() {
			return row.facts
		}
	}
	return Facts{}
}
