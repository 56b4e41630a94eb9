// Package rerun makes the machine of a boot that was made before, from its Result
// alone, and tells how another machine differs from it.
package rerun

import (
	"cmp"
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/machine"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// Machine is the machine that a Result's guest had, without its sockets.
func Machine(r *result.Result) (machine.Spec, error) {
	switch {
	case r.Watched != nil:
		return machine.Spec{}, errors.New("somebody else had started its guest: unwedge does not know how")
	case len(r.Host.Args) == 0:
		return machine.Spec{}, errors.New("its Result has no arguments of QEMU")
	}
	s := machine.Spec{QEMU: r.Host.QEMU, Scenario: r.Scenario, Accel: r.Host.Accel, Append: r.Host.Cmdline}
	for _, o := range options(r.Host.Args) {
		switch o.name {
		case "-kernel":
			s.Kernel = o.value
		case "-initrd":
			s.Initrd = o.value
		case "-accel":
			s.OneThread = slices.Contains(split(o.value), "thread=single")
		case "-cpu":
			s.CPULacks = lacks(o.value, r)
		case "-drive":
			addDrive(&s, keys(o.value))
		case "-device":
			addDevice(&s, o.value)
		}
	}
	return s, nil
}

// addDrive adds a disk, or a part of the firmware.
func addDrive(s *machine.Spec, drive map[string]string) {
	switch {
	case drive["if"] == "pflash" && drive["unit"] == "0":
		s.Firmware = arch.FirmwareFiles{Code: drive["file"], Vars: s.Firmware.Vars}
	case drive["if"] == "pflash":
		s.Firmware.Vars = drive["file"]
	case drive["id"] == diskID(len(s.Disks)):
		bps, _ := strconv.ParseInt(drive["throttling.bps-total"], 10, 64) // absent: none
		s.Disks = append(s.Disks, machine.Disk{Path: drive["file"], Format: cmp.Or(drive["format"], "raw"), BPS: bps})
	}
}

// addDevice adds what a device says of the disk before it, or that there is a slot.
func addDevice(s *machine.Spec, value string) {
	device := keys(value)
	if device["id"] == machine.SlotID {
		s.Slot = true
	}
	if n := len(s.Disks); n > 0 && device["drive"] == diskID(n-1) {
		s.Disks[n-1].Serial, s.Disks[n-1].Boot = device["serial"], device["bootindex"] == "0"
	}
}

func diskID(i int) string { return "disk" + strconv.Itoa(i) }

// lacks are the features that KVM could not give: those turned off in a model that
// nobody chose and that does not turn them off by itself.
func lacks(model string, r *result.Result) []string {
	if r.Host.Accel != result.KVM || r.Scenario.CPUModel != "" || !r.Scenario.Arch.Valid() {
		return nil
	}
	models := r.Scenario.Arch.Facts().CPU
	own := models.KVM
	if !r.Scenario.Entropy.Seeded() {
		own = models.KVMSeedless
	}
	more, ok := strings.CutPrefix(model, own+",")
	if !ok {
		return nil
	}
	var out []string
	for _, f := range strings.Split(more, ",") {
		if name, off := strings.CutSuffix(f, "=off"); off {
			out = append(out, name)
		}
	}
	return out
}

// option is one of QEMU's options.
type option struct{ name, value string }

// options pairs QEMU's arguments: a value does not begin with "-".
func options(args []string) []option {
	var out []option
	for _, a := range args {
		if n := len(out); n > 0 && out[n-1].value == "" && !(strings.HasPrefix(a, "-") && len(a) > 1) {
			out[n-1].value = a
			continue
		}
		out = append(out, option{name: a})
	}
	return out
}

// split splits a value at its commas; a doubled one stands for itself.
func split(value string) []string {
	const mark = "\x00"
	parts := strings.Split(strings.ReplaceAll(value, ",,", mark), ",")
	for i := range parts {
		parts[i] = strings.ReplaceAll(parts[i], mark, ",")
	}
	return parts
}

// keys are the key=value pairs of a value.
func keys(value string) map[string]string {
	m := map[string]string{}
	for _, p := range split(value) {
		k, v, _ := strings.Cut(p, "=")
		m[k] = v
	}
	return m
}

// place matches what of an argument says where something is on the host, not what the
// guest is: files, which are compared by their bytes, and file descriptors.
var place = regexp.MustCompile(`((?:^|,)(?:fd|path|file|mem-path)=)(?:[^,]|,,)*`)

// Differences says what of QEMU's arguments differs between two boots, leaving out where
// files are; nil if nothing does.
func Differences(was, now []string) []string {
	before, after := kinds(was), kinds(now)
	var out []string
	for _, name := range names(before, after) {
		gone, added := without(before[name], after[name]), without(after[name], before[name])
		if len(gone)+len(added) > 0 {
			out = append(out, strings.TrimSpace(name+" "+cmp.Or(strings.Join(added, " "), "(none)"))+", was "+cmp.Or(strings.Join(gone, " "), "(none)"))
		}
	}
	return out
}

// kinds are the values of each option, without the places.
func kinds(args []string) map[string][]string {
	m := map[string][]string{}
	for _, o := range options(args) {
		value := place.ReplaceAllString(o.value, "$1")
		if o.name == "-kernel" || o.name == "-initrd" {
			value = "a file"
		}
		m[o.name] = append(m[o.name], value)
	}
	return m
}

func names(a, b map[string][]string) []string {
	var all []string
	for _, m := range []map[string][]string{a, b} {
		for name := range m {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// without are those of a that b lacks, as often as they are there.
func without(a, b []string) []string {
	rest := slices.Clone(b)
	var out []string
	for _, v := range a {
		if i := slices.Index(rest, v); i >= 0 {
			rest = slices.Delete(rest, i, i+1)
			continue
		}
		out = append(out, cmp.Or(v, "(on)"))
	}
	return out
}
