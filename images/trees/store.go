package trees

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/unwedge/unwedge/images/cache"
	"github.com/unwedge/unwedge/images/git"
	"github.com/unwedge/unwedge/images/progress"
)

// Store keeps what was fetched of all trees in one bare repository, so that
// what trees share is fetched and kept once. What is fetched of a tree is below
// refs/trees/NAME: tags/, heads/, and commits/ by hash; releases are plain tags
// too.
//
// Where the server can leave them out, files are fetched only when a commit is
// checked out: the history of the kernel is a fifth of the whole. git then asks
// the tree's server by itself, so a checkout can need the network.
//
// A Store is safe for several goroutines and processes: one fetches at a time.
type Store struct {
	dir     string
	trees   Catalogue
	silence time.Duration // a server that says nothing for that long is given up
}

// Default opens the store in unwedge's cache, for the trees of a catalogue.
func Default(c Catalogue) (*Store, error) {
	s, err := cache.Default()
	if err != nil {
		return nil, err
	}
	return Open(filepath.Join(s.Dir(), "trees"), c)
}

// Open opens the store in dir, which is created where it is missing.
func Open(dir string, c Catalogue) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open tree store: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("open tree store: %w", err)
	}
	return &Store{dir: dir, trees: c, silence: 5 * time.Minute}, nil
}

// GitDir is the bare repository.
func (s *Store) GitDir() string { return filepath.Join(s.dir, "store.git") }

// probe is a repository without remotes that reads the store's objects: asked
// there for an object that is missing, git says so and does not fetch it.
func (s *Store) probe() string { return filepath.Join(s.dir, "probe.git") }

// git is a run of git in the store. More output than a server with a sane number of
// refs gives is refused: linux-stable has some 500 KB of them.
func (s *Store) git(args ...string) git.Command {
	return git.Command{Dir: s.GitDir(), Args: args, MaxOutput: 64 << 20, Env: []string{"GIT_ALLOW_PROTOCOL=" + strings.Join(transports, ":")}}
}

// ask is a run of git that fetches nothing.
func (s *Store) ask(args ...string) git.Command {
	return git.Command{Dir: s.probe(), Args: args, Env: []string{"GIT_OBJECT_DIRECTORY=" + s.objects()}}
}

// isRepo reports whether a directory is a bare repository.
func isRepo(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "HEAD"))
	return err == nil
}

func (s *Store) objects() string { return filepath.Join(s.GitDir(), "objects") }

// prepare makes the repositories and tells the store about a tree. The caller
// holds the lock.
func (s *Store) prepare(ctx context.Context, t Tree) error {
	for _, dir := range []string{s.GitDir(), s.probe()} {
		if isRepo(dir) {
			continue
		}
		if err := s.create(ctx, dir); err != nil {
			return fmt.Errorf("make tree store: %w", err)
		}
	}
	if err := s.sweep(); err != nil {
		return err
	}
	remote := "remote." + t.Name + "."
	for _, kv := range [][2]string{
		{remote + "url", t.URL}, {remote + "promisor", "true"}, {remote + "partialclonefilter", "blob:none"}, {remote + "tagOpt", "--no-tags"},
		{"gc.auto", "0"}, {"maintenance.auto", "false"}, // nothing may run behind a build's back
	} {
		if old, err := s.git("config", "--get", kv[0]).Run(ctx); err == nil && strings.TrimSpace(old) == kv[1] {
			continue
		}
		if _, err := s.git("config", kv[0], kv[1]).Run(ctx); err != nil {
			return fmt.Errorf("prepare tree %s: %w", t.Name, err)
		}
	}
	return s.refer(ctx, t)
}

// create makes a bare repository in one step: an interrupted one is not taken
// for one.
func (s *Store) create(ctx context.Context, dir string) error {
	tmp, err := os.MkdirTemp(s.dir, "new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if _, err := git.Run(ctx, tmp, "init", "--quiet", "--bare", "--template=", "--initial-branch=none", "git"); err != nil {
		return err
	}
	if err := os.Chmod(filepath.Join(tmp, "git", "config"), 0o600); err != nil { // a URL may hold a login
		return err
	}
	return os.Rename(filepath.Join(tmp, "git"), dir)
}

// refer lets the store read the objects of a local clone, and forgets clones that
// are gone.
func (s *Store) refer(ctx context.Context, t Tree) error {
	objects := ""
	if t.Reference != "" {
		out, err := git.Run(ctx, t.Reference, "rev-parse", "--is-shallow-repository", "--path-format=absolute", "--git-path", "objects")
		if err != nil {
			return fmt.Errorf("tree %s: reference %s: %w", t.Name, t.Reference, err)
		}
		shallow, path, _ := strings.Cut(strings.TrimSpace(out), "\n")
		if shallow == "true" {
			return fmt.Errorf("tree %s: reference %s is a shallow clone, which lacks history: run `git fetch --unshallow` there, or leave it out", t.Name, t.Reference)
		}
		objects = path
	}
	path := filepath.Join(s.objects(), "info", "alternates")
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("tree %s: reference: %w", t.Name, err)
	}
	var keep []string
	for dir := range strings.Lines(string(old)) {
		if st, err := os.Stat(strings.TrimSpace(dir)); err == nil && st.IsDir() {
			keep = append(keep, strings.TrimSpace(dir))
		}
	}
	if objects != "" && !slices.Contains(keep, objects) {
		keep = append(keep, objects)
	}
	text := ""
	for _, dir := range keep {
		text += dir + "\n"
	}
	if text == string(old) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("tree %s: reference: %w", t.Name, err)
	}
	tmp := path + ".new" // the caller holds the store's lock
	if err := os.WriteFile(tmp, []byte(text), 0o644); err != nil {
		return fmt.Errorf("tree %s: reference: %w", t.Name, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("tree %s: reference: %w", t.Name, err)
	}
	return nil
}

// lock holds the store for this process.
func (s *Store) lock(ctx context.Context) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(s.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock tree store: %w", err)
	}
	var waiting progress.Task
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			if waiting != nil {
				waiting.Done(nil)
			}
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock tree store %s: %w", s.dir, err)
		}
		if waiting == nil {
			waiting = progress.From(ctx).Task("wait for another unwedge that fetches a tree", 0)
		}
		select {
		case <-ctx.Done():
			waiting.Done(ctx.Err())
			f.Close()
			return nil, fmt.Errorf("wait for another unwedge at %s: %w", s.dir, context.Cause(ctx))
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// Ref is something that was fetched.
type Ref struct {
	Tree string `json:"tree"`
	Name string `json:"name"` // tags/v7.2, heads/master, commits/HASH
	Hash string `json:"hash"` // of the commit
}

const refsBelow = "refs/trees/"

// Refs lists what was fetched, of all trees.
func (s *Store) Refs(ctx context.Context) ([]Ref, error) {
	if !isRepo(s.GitDir()) {
		return nil, nil
	}
	out, err := s.git("for-each-ref", "--format=%(refname) %(objectname) %(*objectname)", refsBelow).Run(ctx)
	if err != nil {
		return nil, fmt.Errorf("list fetched trees: %w", err)
	}
	var refs []Ref
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		tree, name, _ := strings.Cut(strings.TrimPrefix(f[0], refsBelow), "/")
		refs = append(refs, Ref{Tree: tree, Name: name, Hash: f[len(f)-1]})
	}
	return refs, nil
}
