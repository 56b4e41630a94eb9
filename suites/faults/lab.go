package main

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/unwedge/unwedge/harness/plan"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// lab is what all trials share.
type lab struct {
	options
	kernels map[arch.Arch]string
	bases   map[arch.Arch]string // caches that have all that a boot needs
}

// newLab finds the kernels, and fills a cache by booting each once.
func newLab(ctx context.Context, o options) (*lab, error) {
	p, err := plan.New("faults")
	if err != nil {
		return nil, err
	}
	l := &lab{options: o, kernels: map[arch.Arch]string{}, bases: map[arch.Arch]string{}}
	for i, a := range o.arches {
		c, err := p.Candidate(ctx, plan.DefaultKernel(a), a)
		if err != nil {
			return nil, err
		}
		l.kernels[a], l.bases[a] = c.Kernel.Path, filepath.Join(o.out, "base-"+string(a))
		t := &trial{lab: l, n: -1 - i, arch: a, rand: rand.New(rand.NewPCG(0, 0)), dir: filepath.Join(o.out, "warm-up-"+string(a))}
		if err := t.prepare(); err != nil {
			return nil, err
		}
		if lost := t.again(ctx, l.bases[a]); lost != "" {
			return nil, fmt.Errorf("the boot without a fault: %s: see %s", lost, t.dir)
		}
	}
	return l, nil
}

// trial is one fault in one boot.
type trial struct {
	*lab
	n     int
	kind  kind
	arch  arch.Arch
	phase phase
	seed  uint64
	rand  *rand.Rand
	dir   string

	mounts []string
	beside int // how many more unwedge boot at the same time
}

// draw lists the trials: each kind in turn, each architecture in turn, the phases drawn.
func (l *lab) draw() []trial {
	r := rand.New(rand.NewPCG(l.seed, 1))
	var some []kind
	for _, k := range kinds {
		if (l.only == nil || l.only.MatchString(k.name)) && (!k.root || os.Geteuid() == 0) {
			some = append(some, k)
		}
	}
	if len(some) == 0 {
		return nil
	}
	order := r.Perm(len(some))
	var out []trial
	for n := range l.n {
		k := some[order[n%len(some)]]
		t := trial{lab: l, n: n, kind: k, seed: r.Uint64(), dir: filepath.Join(l.out, fmt.Sprintf("%03d", n))}
		t.arch = l.arches[(n+n/len(some))%len(l.arches)]
		if len(k.phases) > 0 {
			t.phase = k.phases[r.IntN(len(k.phases))]
		}
		t.rand = rand.New(rand.NewPCG(t.seed, 2))
		out = append(out, t)
	}
	return out
}

// path is a place in the trial's directory.
func (t *trial) path(name ...string) string {
	return filepath.Join(append([]string{t.dir}, name...)...)
}

// prepare makes the trial's directories, with a copy of the cache that shares its files.
func (t *trial) prepare() error {
	if err := os.RemoveAll(t.dir); err != nil {
		return err
	}
	for _, d := range []string{"cache", "cold", "state", "tmp"} {
		if err := os.MkdirAll(t.path(d), 0o755); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(t.bases[t.arch], 0o755); err != nil {
		return err
	}
	return filepath.WalkDir(t.bases[t.arch], func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := t.path("cache", strings.TrimPrefix(path, t.bases[t.arch]))
		if d.IsDir() {
			return os.MkdirAll(to, 0o755)
		}
		return os.Link(path, to)
	})
}

// cached lists the files of the cache's entries.
func (t *trial) cached() ([]string, error) {
	var out []string
	err := filepath.WalkDir(t.path("cache"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && !strings.HasSuffix(path, ".lock") && strings.Count(strings.TrimPrefix(path, t.dir), "/") > 3 {
			out = append(out, path)
		}
		return err
	})
	if err == nil && len(out) == 0 {
		err = fmt.Errorf("no file in %s", t.path("cache"))
	}
	return out, err
}

// own makes a file of the cache the trial's own.
func own(file string) ([]byte, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return b, os.Remove(file)
}

// tear cuts a file somewhere.
func (t *trial) tear(file string) error {
	b, err := own(file)
	if err != nil {
		return err
	}
	return os.WriteFile(file, b[:t.rand.IntN(len(b)+1)], 0o644)
}

// flip changes one bit of a file.
func (t *trial) flip(file string) error {
	b, err := own(file)
	if err != nil {
		return err
	}
	if len(b) > 0 {
		b[t.rand.IntN(len(b))] ^= 1 << t.rand.IntN(8)
	}
	return os.WriteFile(file, b, 0o644)
}

// small puts a file system of so many KiB in a directory's place. Only root may.
func (t *trial) small(dir string, kib int) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("faults", dir, "tmpfs", 0, fmt.Sprintf("size=%dk,mode=0700", max(4, kib))); err != nil {
		return fmt.Errorf("make a small file system: %w", err)
	}
	t.mounts = append(t.mounts, dir)
	return nil
}

// unmount takes the small file systems away.
func (t *trial) unmount() error {
	for _, m := range t.mounts {
		if err := unix.Unmount(m, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", m, err)
		}
	}
	t.mounts = nil
	return nil
}
