package diagnose

import (
	"testing"

	"github.com/unwedge/unwedge/harness/result"
)

func TestDeviceJobs(t *testing.T) {
	for in, want := range map[string]string{
		`/dev/vda1`:                           "/dev/vda1",
		`dev-vda1.device`:                     "/dev/vda1",
		`dev-disk-by\x2dlabel-root.device`:    "/dev/disk/by-label/root",
		`dev-disk-by\x2dlabel-unwedge\x2…ice`: "/dev/disk/by-label/unwedge…",
		`dev-disk-by\x2dlabel-unwe…vice`:      "/dev/disk/by-label/unwe…",
		`dev-hugepages.mount`:                 "",
		`dev-hug…ount`:                        "",
		`dracut-initqueue.service`:            "",
		`systemd-udev-settle.service`:         "",
	} {
		got, ok := deviceJob(in)
		if got != want || ok != (want != "") {
			t.Errorf("deviceJob(%q) = %q, %v, want %q", in, got, ok, want)
		}
	}
}

func TestTextOfNoKernelIsUnknown(t *testing.T) {
	for _, text := range []string{"hello world\n", "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1::/:\n"} {
		if d := Explain([]byte(text)); d.Cause != result.CauseUnknown {
			t.Errorf("Explain(%q): %s, %s", text, d.Cause, d.Title)
		}
	}
	if d := Explain([]byte("SeaBIOS (version 1.16.2)\nBooting from ROM..\n")); d.Cause != result.CauseSilent {
		t.Errorf("a firmware's log: %s", d.Cause)
	}
}
