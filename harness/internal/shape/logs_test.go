package shape_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/unwedge/unwedge/harness/internal/shape"
)

// TestConsolesStay: what kernels printed in guests of unwedge is in no shape.
func TestConsolesStay(t *testing.T) {
	logs, err := filepath.Glob("../dump/testdata/*/*.log")
	if err != nil || len(logs) == 0 {
		t.Fatal("no logs", err)
	}
	for _, path := range logs {
		log, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if text, shapes := shape.Unwrap(log); len(shapes) > 0 || len(text) != len(log) {
			t.Errorf("%s: %q, %d bytes of %d", path, shapes, len(text), len(log))
		}
	}
}
