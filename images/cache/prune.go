package cache

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Entry describes one finished entry.
type Entry struct {
	ID     string    `json:"id"`   // KIND/HASH
	Kind   string    `json:"kind"` // the folder it is kept in
	Dir    string    `json:"dir"`
	Inputs []string  `json:"inputs"`
	Size   int64     `json:"size"` // bytes on disk
	Made   time.Time `json:"made"`
	Used   time.Time `json:"used"` // last time Get returned it
}

// List returns all finished entries, the newest used first.
func (s *Store) List() ([]Entry, error) {
	infos, err := filepath.Glob(filepath.Join(s.dir, "*", "*", infoName))
	if err != nil {
		return nil, fmt.Errorf("list cache: %w", err)
	}
	var out []Entry
	for _, path := range infos {
		dir := filepath.Dir(path)
		if strings.HasPrefix(filepath.Base(dir), ".tmp-") {
			continue
		}
		e, err := s.entry(dir)
		if errors.Is(err, fs.ErrNotExist) { // pruned by another process meanwhile
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b Entry) int { return b.Used.Compare(a.Used) })
	return out, nil
}

func (s *Store) entry(dir string) (Entry, error) {
	path := filepath.Join(dir, infoName)
	st, err := os.Stat(path)
	if err != nil {
		return Entry{}, fmt.Errorf("read cache entry: %w", err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return Entry{}, fmt.Errorf("read cache entry: %w", err)
	}
	var in info
	if err := json.Unmarshal(b, &in); err != nil {
		return Entry{}, fmt.Errorf("read cache entry %s: %w", path, err)
	}
	kind := filepath.Base(filepath.Dir(dir))
	return Entry{
		ID: kind + "/" + filepath.Base(dir), Kind: kind, Dir: dir, Inputs: in.Inputs,
		Size: diskUsage(dir), Made: in.Made, Used: st.ModTime(),
	}, nil
}

// diskUsage adds up the blocks in use below dir, so that sparse images count
// for what they occupy. What vanishes meanwhile counts nothing.
func diskUsage(dir string) int64 {
	var n int64
	_ = filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil && unix.Lstat(p, &st) == nil {
			n += st.Blocks * 512
		}
		return nil
	})
	return n
}

// PruneOptions say what Prune removes.
type PruneOptions struct {
	// Unused is how long an entry must not have been used; 0 removes all.
	Unused time.Duration
	// Kinds limits the pruning to these kinds; empty means all.
	Kinds []string
	// DryRun removes nothing and returns what would go.
	DryRun bool
}

// Prune removes the entries that were not used for a while, and what builders
// that were killed left behind. An entry that is being built is left alone.
func (s *Store) Prune(ctx context.Context, opt PruneOptions) ([]Entry, error) {
	entries, err := s.List()
	if err != nil {
		return nil, err
	}
	limit := time.Now().Add(-opt.Unused)
	var gone []Entry
	for _, e := range entries {
		if ctx.Err() != nil {
			return gone, context.Cause(ctx)
		}
		if e.Used.After(limit) && opt.Unused > 0 || len(opt.Kinds) > 0 && !slices.Contains(opt.Kinds, e.Kind) {
			continue
		}
		if !opt.DryRun && !s.remove(e.Dir) {
			continue
		}
		gone = append(gone, e)
	}
	if !opt.DryRun {
		s.sweep()
	}
	return gone, nil
}

// remove takes the entry away in one rename, so that nobody sees half of it.
func (s *Store) remove(dir string) bool {
	done, cancel := context.WithCancel(context.Background())
	cancel() // do not wait for a lock
	unlock, err := lock(done, dir+".lock")
	if err != nil {
		return false
	}
	defer unlock()
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".tmp-gone-")
	if err != nil {
		return false
	}
	defer removeTree(tmp)
	return os.Rename(dir, filepath.Join(tmp, "entry")) == nil
}

// sweep removes what killed builders left: no living build keeps a .tmp-
// directory untouched for a day.
func (s *Store) sweep() {
	left, _ := filepath.Glob(filepath.Join(s.dir, "*", ".tmp-*")) // the pattern is constant and valid
	for _, dir := range left {
		if st, err := os.Stat(dir); err == nil && time.Since(st.ModTime()) > 24*time.Hour {
			removeTree(dir)
		}
	}
}
