package plan

import (
	"context"
	"fmt"
	"os"
	"sync"

	"github.com/unwedge/unwedge/harness/vcpu"
	"github.com/unwedge/unwedge/images/kernel"
	"github.com/unwedge/unwedge/images/kernel/kallsyms"
	"github.com/unwedge/unwedge/images/mutate"
)

// symbols names addresses by the kernel's own table, which is read when the
// first address is asked for: only a boot that stalls needs it. Addresses are
// taken as they were linked, so they are right where the kernel is not moved
// (no KASLR), and unnamed or outside the table where it is.
func symbols(k *kernel.Kernel) vcpu.Symbolizer {
	table := sync.OnceValue(func() *kallsyms.Table {
		payload, err := k.Payload(context.Background())
		if err != nil {
			return nil
		}
		t, err := kallsyms.Parse(payload, k.Arch)
		if err != nil {
			return nil // a kernel without the table: addresses stay numbers
		}
		return t
	})
	return func(addr uint64) (string, bool) {
		t := table()
		if t == nil {
			return "", false
		}
		name, off, size, ok := t.Nearest(addr)
		if !ok || size > 0 && off >= size {
			return "", false
		}
		return fmt.Sprintf("%s+%#x/%#x", name, off, size), true
	}
}

// seededFault returns the ground truth that travels with a kernel that was
// changed on purpose, "" for any other.
func seededFault(path string) string {
	b, err := os.ReadFile(path + mutate.TruthSuffix)
	if err != nil || len(b) > 64<<10 {
		return ""
	}
	return string(b)
}
