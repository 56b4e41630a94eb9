package kbuild

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Settle waits until nothing builds in an output directory any more: what is left of
// a build whose program was killed goes on for a while, and must not meet a source
// that changes. A directory that is not there is settled.
func Settle(ctx context.Context, output string) error {
	f, err := os.OpenFile(filepath.Join(output, lockName), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return hostFault("configure", err)
	}
	defer f.Close() // gives the lock up
	return waitLock(ctx, f, output)
}
