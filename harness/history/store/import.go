package store

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
)

// Imported says what an import found.
type Imported struct {
	// Found is how many Results there were, Added how many of them were new.
	Found int `json:"found"`
	Added int `json:"added"`
	// Skipped are what could not be read, and why, the first 20.
	Skipped []string `json:"skipped,omitempty"`
	// Unread is how many could not be read.
	Unread int `json:"unread"`
}

const (
	batch      = 500 // runs in one transaction
	maxSkipped = 20
)

// Import adds every run whose result.json is in dir or below. What cannot be read is
// skipped and told. An error leaves what was added before it.
func (s *Store) Import(ctx context.Context, dir string) (im Imported, err error) {
	var runs []*result.Result
	flush := func() error {
		n, err := s.Record(ctx, runs...)
		im.Added += n
		runs = runs[:0]
		return err
	}
	skip := func(path string, err error) {
		if im.Unread++; im.Unread <= maxSkipped {
			im.Skipped = append(im.Skipped, console.SanitizeMax(fmt.Sprintf("%s: %v", path, err), maxText))
		}
	}
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil && path == dir:
			return err
		case err != nil:
			skip(path, err)
			return nil
		case e.IsDir() && path != dir && rundir.IsSecond(path): // a part of the run above it
			return fs.SkipDir
		case e.Name() != rundir.Result || !e.Type().IsRegular():
			return nil
		}
		r, err := readRun(path)
		if err != nil {
			skip(path, err)
			return nil
		}
		im.Found++
		if runs = append(runs, r); len(runs) >= batch {
			return flush()
		}
		return nil
	})
	if err != nil {
		return im, fmt.Errorf("import runs: %w", err)
	}
	return im, flush()
}

// readRun reads a Result; its artifacts are beside it.
func readRun(path string) (*result.Result, error) {
	r, err := result.Read(path)
	if err != nil {
		return nil, err
	}
	if r.Dir, err = filepath.Abs(filepath.Dir(path)); err != nil {
		return nil, err
	}
	return r, nil
}
