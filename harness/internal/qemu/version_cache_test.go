package qemu_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/unwedge/unwedge/harness/internal/qemu"
)

func TestTheKeptVersionIsThatOfTheProgram(t *testing.T) {
	dir := t.TempDir()
	program, state := filepath.Join(dir, "qemu"), filepath.Join(dir, "state")
	install := func(version string, at time.Time) {
		t.Helper()
		script := "#!/bin/sh\necho x >>" + dir + "/asked\necho 'QEMU emulator version " + version + "'\n"
		if err := os.WriteFile(program, []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(program, at, at); err != nil {
			t.Fatal(err)
		}
	}
	ask := func(want string, times int) {
		t.Helper()
		v, err := qemu.CachedVersion(t.Context(), program, state)
		if err != nil || v.String() != want {
			t.Errorf("version %s, %v, want %s", v, err, want)
		}
		if b, err := os.ReadFile(filepath.Join(dir, "asked")); err != nil || len(b) != 2*times {
			t.Errorf("the program was asked %d times (%v), want %d", len(b)/2, err, times)
		}
	}
	install("7.2.22", time.Unix(1000, 0))
	ask("7.2.22", 1)
	ask("7.2.22", 1)
	install("9.1.0", time.Unix(2000, 0))
	ask("9.1.0", 2)
	if _, err := qemu.CachedVersion(t.Context(), filepath.Join(dir, "none"), state); err == nil {
		t.Error("a program that is not there has a version")
	}
}
