package kallsyms_test

import (
	"strings"
	"testing"

	"github.com/unwedge/unwedge/images/cache"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/images/internal/archivetest"
	"github.com/unwedge/unwedge/images/kernel/kallsyms"
)

// TestRealKernels reads the symbols of kernels of the Debian archive.
func TestRealKernels(t *testing.T) {
	archivetest.Each(t, func(t *testing.T, c *candidate.Candidate, _ *cache.Store) {
		payload, err := c.Kernel.Payload(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		tab, err := kallsyms.Parse(payload, c.Kernel.Arch)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := tab.Lookup("_text")
		banner, ok := tab.Lookup("linux_banner")
		t.Logf("%d symbols _text=%#x", tab.Len(), text)
		off, in := tab.FileOffset(banner)
		if ok && !in || ok && !strings.HasPrefix(string(payload[off:off+14]), "Linux version ") {
			t.Errorf("linux_banner at %#x (offset %#x) is not the banner", banner, off)
		}
		for _, name := range []string{"wait_for_random_bytes", "start_kernel", "schedule"} {
			addr, ok := tab.Lookup(name)
			if !ok {
				t.Errorf("no %s; variants %v", name, tab.Variants(name))
				continue
			}
			got, o, _, ok := tab.Nearest(addr + 4)
			if !ok || o != 4 {
				t.Errorf("Nearest(%s+4) = %s+%d %v", name, got, o, ok)
			}
		}
	})
}
