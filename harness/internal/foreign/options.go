package foreign

import (
	"encoding/json"
	"strings"
)

// jsonOptions are the options of libvirt's form that are words.
func jsonOptions(text string) map[string]string {
	var all map[string]any
	if json.Unmarshal([]byte(text), &all) != nil {
		return nil
	}
	out := map[string]string{}
	for name, value := range all {
		if s, ok := value.(string); ok {
			out[name] = s
		}
	}
	return out
}

// flag is the name of an option of QEMU's, which may have one dash or two.
func flag(arg string) string {
	if !strings.HasPrefix(arg, "-") {
		return ""
	}
	return strings.TrimPrefix(strings.TrimPrefix(arg, "-"), "-")
}

// Cmdline is the kernel command line that QEMU was given; ok is false where it was given
// none, and the guest's boot loader has it.
func (g *Guest) Cmdline() (line string, ok bool) {
	args := g.Args()
	for i := 1; i < len(args); i++ {
		if flag(args[i-1]) == "append" {
			line, ok = args[i], true
		}
	}
	return line, ok
}

// HasVirtioRNG says that QEMU was given a virtio-rng device.
func (g *Guest) HasVirtioRNG() bool {
	args := g.Args()
	for i := 1; i < len(args); i++ {
		if flag(args[i-1]) == "device" && strings.HasPrefix(options(args[i])["driver"], "virtio-rng-") {
			return true
		}
	}
	return false
}
