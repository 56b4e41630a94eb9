package diagnose

import (
	"slices"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/dump"
)

// cmdline is the kernel command line.
type cmdline string

// commandLine is the one that the console shows, else the scenario's.
func commandLine(d *dump.Dump, sc *Scenario) cmdline {
	if d.Boot.Cmdline == "" && sc != nil {
		return cmdline(sc.Cmdline)
	}
	return cmdline(d.Boot.Cmdline)
}

// has says whether the command line holds a word.
func (c cmdline) has(arg string) bool {
	return slices.Contains(strings.Fields(string(c)), arg)
}

// value gives the value of a `name=value` word, the last one.
func (c cmdline) value(name string) string {
	v := ""
	for w := range strings.FieldsSeq(string(c)) {
		if rest, ok := strings.CutPrefix(w, name+"="); ok {
			v = rest
		}
	}
	return v
}

// rootPath is the device that root= names, as a path.
func (c cmdline) rootPath() string {
	r := c.value("root")
	for _, by := range []string{"LABEL", "UUID", "PARTUUID", "PARTLABEL"} {
		if v, ok := strings.CutPrefix(r, by+"="); ok {
			return "/dev/disk/by-" + strings.ToLower(by) + "/" + v
		}
	}
	return r
}

// isRoot says whether a device is the one that root= names.
func (c cmdline) isRoot(dev string) bool {
	return dev != "" && (dev == c.rootPath() || dev == c.value("root"))
}
