package kallsyms_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/unwedge/unwedge/images/kernel"
	"github.com/unwedge/unwedge/images/kernel/kallsyms"
)

// TestRealKernels reads the symbols of the kernels that UNWEDGE_TEST_KERNELS
// lists.
func TestRealKernels(t *testing.T) {
	list := strings.FieldsFunc(os.Getenv("UNWEDGE_TEST_KERNELS"), func(r rune) bool { return r == ':' || r == ' ' || r == '\n' })
	if len(list) == 0 {
		t.Skip("UNWEDGE_TEST_KERNELS lists no kernels")
	}
	for _, path := range list {
		t.Run(filepath.Base(path), func(t *testing.T) {
			k, payload, err := kernel.IdentifyPayload(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			tab, err := kallsyms.Parse(payload, k.Arch)
			if err != nil {
				t.Fatal(err)
			}
			took := time.Since(start)
			text, _ := tab.Lookup("_text")
			banner, ok := tab.Lookup("linux_banner")
			t.Logf("%v %d symbols _text=%#x", took.Round(time.Millisecond), tab.Len(), text)
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
}
