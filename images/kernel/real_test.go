package kernel

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestRealKernels identifies the kernels that UNWEDGE_TEST_KERNELS lists
// (paths, separated by colons or white space).
func TestRealKernels(t *testing.T) {
	list := strings.FieldsFunc(os.Getenv("UNWEDGE_TEST_KERNELS"), func(r rune) bool { return r == ':' || r == ' ' || r == '\n' })
	if len(list) == 0 {
		t.Skip("UNWEDGE_TEST_KERNELS lists no kernels")
	}
	for _, path := range list {
		t.Run(filepath.Base(path), func(t *testing.T) {
			start := time.Now()
			k, err := Identify(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%v %s %s %s id=%s pvh=%v", time.Since(start).Round(time.Millisecond), k.Arch, k.Format, k.Compression, k.BuildID, k.PVH)
			if k.Release == "" || k.BuildID == "" || !strings.Contains(k.Banner, k.Release) {
				t.Errorf("incomplete: %+v", k)
			}
		})
	}
}
