package mutate

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/images/kernel"
)

// TestRealKernels mutates the kernels that UNWEDGE_TEST_KERNELS lists. In
// Debian's 5.10 the compiler has inlined try_to_generate_entropy.
func TestRealKernels(t *testing.T) {
	list := strings.FieldsFunc(os.Getenv("UNWEDGE_TEST_KERNELS"), func(r rune) bool { return r == ':' || r == ' ' || r == '\n' })
	if len(list) == 0 {
		t.Skip("UNWEDGE_TEST_KERNELS lists no kernels")
	}
	for _, path := range list {
		t.Run(filepath.Base(path), func(t *testing.T) {
			k, err := kernel.Identify(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(k.Release, "5.") {
				t.Skip("inlined there")
			}
			out := filepath.Join(t.TempDir(), "out")
			truth, err := WriteFile(t.Context(), k, out, "try_to_generate_entropy", Return)
			if err != nil {
				t.Fatal(err)
			}
			mutated, err := kernel.Identify(t.Context(), out)
			if err != nil || mutated.BuildID != k.BuildID || mutated.SHA256 != truth.SHA256 {
				t.Errorf("mutated kernel %+v, %v", mutated, err)
			}
			// Every one of these kernels is built with ftrace.
			if skip := truth.PatchAddress - truth.Address; skip < 5 {
				t.Errorf("changed at +%d, over the entry hook", skip)
			}
			// misc_register holds misc_mtx (drivers/char/misc.c).
			truth, err = WriteFile(t.Context(), k, out, "misc_register", LeakLock)
			if err != nil || truth.Unlock != "mutex_unlock" || truth.CallOffset < 5 {
				t.Errorf("leaked lock: %+v, %v", truth, err)
			}
		})
	}
}
