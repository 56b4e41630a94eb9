package machine

import (
	"fmt"
	"slices"
)

// Rename returns the same machine with other files: to is asked for each, by its role
// (kernel, initrd, firmware-code, firmware-vars, disk0, disk1 …) and its path.
func (s Spec) Rename(to func(role, path string) string) Spec {
	ask := func(role, path string) string {
		if path == "" {
			return ""
		}
		return to(role, path)
	}
	s.Kernel, s.Initrd = ask("kernel", s.Kernel), ask("initrd", s.Initrd)
	s.Firmware.Code, s.Firmware.Vars = ask("firmware-code", s.Firmware.Code), ask("firmware-vars", s.Firmware.Vars)
	s.Disks = slices.Clone(s.Disks)
	for i := range s.Disks {
		s.Disks[i].Path = ask(fmt.Sprintf("disk%d", i), s.Disks[i].Path)
	}
	return s
}
