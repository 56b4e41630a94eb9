package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/unwedge/unwedge/harness/rundir"
)

// transcript keeps what is said to a monitor: in memory, until the run has a directory.
type transcript struct {
	mu   sync.Mutex
	kept bytes.Buffer
	file *os.File
}

// Write implements io.Writer.
func (t *transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.file == nil {
		return t.kept.Write(p)
	}
	return t.file.Write(p)
}

// keep moves it to the run's directory.
func (t *transcript) keep(dir string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	f, err := os.Create(filepath.Join(dir, rundir.QMP))
	if err != nil {
		return fmt.Errorf("make %s: %w", rundir.QMP, err)
	}
	t.file = f
	if _, err := t.kept.WriteTo(f); err != nil {
		return fmt.Errorf("write %s: %w", rundir.QMP, err)
	}
	return nil
}

// Close closes the file.
func (t *transcript) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.file != nil {
		t.file.Close()
	}
}
