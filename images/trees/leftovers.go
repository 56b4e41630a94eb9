package trees

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// sweep removes what killed fetches have left: packs that came in part, and git's
// locks. The caller holds the store's lock, and git ends with the program that
// started it, so that nobody but a checkout is at work, which fetches files and
// locks nothing here.
func (s *Store) sweep() error {
	news, err := filepath.Glob(filepath.Join(s.dir, "new-*"))
	if err != nil {
		return err
	}
	for _, path := range append(s.partial(), news...) {
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("clean tree store: %w", err)
		}
	}
	for _, dir := range []string{s.GitDir(), s.probe()} {
		if err := unlock(dir); err != nil {
			return fmt.Errorf("clean tree store: %w", err)
		}
	}
	return nil
}

// partial are packs that came in part and that no process has open.
func (s *Store) partial() []string {
	left, err := filepath.Glob(filepath.Join(s.objects(), "pack", "tmp_*"))
	if err != nil || len(left) == 0 {
		return nil
	}
	used, err := openFiles()
	var out []string
	for _, path := range left {
		st, serr := os.Stat(path)
		// Where it cannot be seen who uses it, a day is long enough.
		if serr == nil && !used[path] && (err == nil || time.Since(st.ModTime()) > 24*time.Hour) {
			out = append(out, path)
		}
	}
	return out
}

// openFiles are the files that this user's processes have open, as /proc has it.
func openFiles() (map[string]bool, error) {
	links, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return nil, err
	}
	if len(links) == 0 {
		return nil, errors.New("/proc is empty")
	}
	used := map[string]bool{}
	for _, l := range links {
		if path, err := os.Readlink(l); err == nil { // it may have ended meanwhile
			used[path] = true
		}
	}
	return used, nil
}

// unlock removes the locks of a bare repository that its refs, its configuration
// and its commit graph may have; not those of work trees.
func unlock(dir string) error {
	locks, err := filepath.Glob(filepath.Join(dir, "*.lock"))
	if err != nil {
		return err
	}
	for _, below := range []string{"refs", filepath.Join("objects", "info")} {
		err := filepath.WalkDir(filepath.Join(dir, below), func(path string, d fs.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(path, ".lock") && d.Type().IsRegular() {
				locks = append(locks, path)
			}
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	for _, path := range locks {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
