// Package cache keeps what is costly to make: unpacked kernels, root file
// systems, initramfs images. An entry is a directory named by the content of
// its inputs, so it never goes stale, and two processes that want the same
// entry build it once.
//
// On disk:
//
//	DIR/KIND/HASH/          a finished entry, never changed afterwards
//	DIR/KIND/HASH.lock      held (flock) by whoever builds, uses or prunes it
//	DIR/KIND/.tmp-*         an entry being built; leftovers are pruned
package cache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/unwedge/unwedge/images/progress"
)

// infoName is the file in each entry that says what it was made from.
const infoName = ".unwedge-entry.json"

// Key names an entry by what decides its content.
type Key struct {
	// Kind is the folder the entry is kept in: "kernel", "root", …
	Kind string
	// Inputs decide the content; their order matters.
	Inputs []string
}

// ID returns KIND/HASH, the entry's path below the store.
func (k Key) ID() string {
	h := sha256.New()
	for _, in := range k.Inputs {
		fmt.Fprintf(h, "%d:%s\n", len(in), in)
	}
	return k.Kind + "/" + hex.EncodeToString(h.Sum(nil))[:32]
}

// Store is one cache directory. It is safe for use by several goroutines and
// several processes.
type Store struct{ dir string }

// Default opens $UNWEDGE_CACHE, else $XDG_CACHE_HOME/unwedge, else
// ~/.cache/unwedge.
func Default() (*Store, error) {
	if dir := os.Getenv("UNWEDGE_CACHE"); dir != "" {
		return Open(dir)
	}
	base, err := os.UserCacheDir()
	if err != nil {
		return nil, fmt.Errorf("find the cache directory: %w: set UNWEDGE_CACHE", err)
	}
	return Open(filepath.Join(base, "unwedge"))
}

// Open opens the store at dir, which is created where it is missing.
func Open(dir string) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open cache: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("open cache: %w", err)
	}
	return &Store{dir: dir}, nil
}

// Dir returns the store's directory.
func (s *Store) Dir() string { return s.dir }

// Lookup returns the entry's directory if the cache has it, and whole: one that a crash
// of the host, a bad disk or somebody else has changed is as if it were not there.
func (s *Store) Lookup(k Key) (string, bool) {
	dir := filepath.Join(s.dir, filepath.FromSlash(k.ID()))
	return dir, whole(dir)
}

// Get returns the entry's directory, building it first where it is missing.
// build fills the empty directory it is given, which is renamed into place
// when build returns nil and removed otherwise. Only one process builds an
// entry at a time; the others wait for it, until ctx ends.
func (s *Store) Get(ctx context.Context, k Key, build func(ctx context.Context, dir string) error) (string, error) {
	if k.Kind == "" || strings.ContainsAny(k.Kind, "/.") {
		return "", fmt.Errorf("cache entry kind %q: want one plain word", k.Kind)
	}
	dir, ok := s.Lookup(k)
	if ok {
		touch(dir)
		return dir, nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", fmt.Errorf("make cache folder: %w", err)
	}
	unlock, err := lockEntry(ctx, k, dir)
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, ok := s.Lookup(k); ok { // another process built it meanwhile
		return dir, nil
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".tmp-")
	if err != nil {
		return "", fmt.Errorf("make cache entry %s: %w", k.ID(), err)
	}
	defer removeTree(tmp)
	if err := os.Chmod(tmp, 0o755); err != nil {
		return "", fmt.Errorf("make cache entry %s: %w", k.ID(), err)
	}
	if err := build(ctx, tmp); err != nil {
		return "", err
	}
	if err := writeInfo(tmp, k); err != nil {
		return "", err
	}
	removeTree(dir) // a torn entry without its info file
	if err := os.Rename(tmp, dir); err != nil {
		return "", fmt.Errorf("finish cache entry %s: %w", k.ID(), err)
	}
	return dir, nil
}

type info struct {
	Inputs []string  `json:"inputs"`
	Made   time.Time `json:"made"`
	// Files are those of the entry (see checksums), nil for one that is not checked.
	Files map[string]checksum `json:"files,omitempty"`
}

func writeInfo(dir string, k Key) error {
	files, err := checksums(dir)
	if err != nil {
		return fmt.Errorf("describe cache entry: %w", err)
	}
	b, err := json.MarshalIndent(info{Inputs: k.Inputs, Made: time.Now().UTC(), Files: files}, "", "  ")
	if err != nil {
		return fmt.Errorf("describe cache entry: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, infoName), b, 0o644); err != nil {
		return fmt.Errorf("describe cache entry: %w", err)
	}
	return nil
}

// touch records that the entry was used, for Prune.
func touch(dir string) {
	now := time.Now()
	_ = os.Chtimes(filepath.Join(dir, infoName), now, now) // a read-only cache still serves
}

// lockEntry waits for whoever builds the entry, and says that it does.
func lockEntry(ctx context.Context, k Key, dir string) (unlock func(), err error) {
	now, cancel := context.WithCancel(ctx)
	cancel()
	if unlock, err := lock(now, dir+".lock"); err == nil || ctx.Err() != nil {
		return unlock, err
	}
	task := progress.From(ctx).Task("wait for another unwedge, which builds this "+k.Kind, 0)
	unlock, err = lock(ctx, dir+".lock")
	task.Done(err)
	if err != nil {
		return nil, fmt.Errorf("wait for another unwedge to build this %s: %w", k.Kind, err)
	}
	return unlock, nil
}

// lock takes the flock on path, waiting until ctx ends. The file stays: to
// remove a lock file while others wait on it would split the lock.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock cache entry: %w", err)
	}
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, 250*time.Millisecond) {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock cache entry %s: %w", path, err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}

// removeTree removes a tree even where it holds directories without write
// permission, as unpacked packages may.
func removeTree(dir string) {
	if os.RemoveAll(dir) == nil {
		return
	}
	_ = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = os.Chmod(p, 0o700)
		}
		return nil
	})
	_ = os.RemoveAll(dir)
}
