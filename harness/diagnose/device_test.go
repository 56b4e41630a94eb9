package diagnose

import "testing"

func TestDeviceJobsAreToldFromOthers(t *testing.T) {
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
