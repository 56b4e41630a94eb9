package dump

import (
	"slices"
	"testing"
	"time"
)

// Lines of a Debian 6.1 with initcall_debug; the second boot's count.
func TestInitcallsThatReturned(t *testing.T) {
	d := Parse([]byte(`[    0.000000] Linux version 6.1.0 (gcc)
[    0.100000] initcall early_init+0x0/0x10 returned 0 after 5000 usecs
[    0.000000] Linux version 6.1.0 (gcc)
[    0.110000] calling  acpi_init+0x0/0x4f0 @ 1
[    0.150000] initcall acpi_init+0x0/0x4f0 returned 0 after 40123 usecs
[    0.160000] initcall quick_init+0x0/0x10 returned 0 after 12 usecs
[    1.000000] initcall virtio_pci_driver_init+0x0/0x1000 [virtio_pci] returned -19 after 1000 usecs
[    1.100000] initcall forged_init returned 0 after 99999 usecs
[    1.200000] initcall endless_init+0x0/0x10 returned 0 after 99999999999999 usecs
`))
	want := []Initcall{{"acpi_init", "", 40123 * time.Microsecond}, {"virtio_pci_driver_init", "virtio_pci", time.Millisecond}}
	if got := d.Boot.Initcalls; !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
}
