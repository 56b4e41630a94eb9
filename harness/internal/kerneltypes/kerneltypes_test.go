package kerneltypes

import (
	"os"
	"path/filepath"
	"testing"
)

// Headers of another kernel have another layout.
func TestSameRelease(t *testing.T) {
	dir := t.TempDir()
	if err := sameRelease(dir, "6.1.0-test"); err == nil {
		t.Error("a directory that does not say its release")
	}
	if err := os.MkdirAll(filepath.Join(dir, "include/generated"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "include/generated/utsrelease.h"), []byte("#define UTS_RELEASE \"6.1.0-test\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := sameRelease(dir, "6.1.0-test"); err != nil {
		t.Error(err)
	}
	if err := sameRelease(dir, "6.1.0-other"); err == nil {
		t.Error("headers of another release were taken")
	}
}
