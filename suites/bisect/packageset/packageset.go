// Package packageset makes a set of kernels to search: real ones of a
// distribution, of which those from a given version on are changed in one
// function so that their boot hangs. What the search must find is known then,
// and all else about the kernels is what was released.
package packageset

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/images/mutate"
)

// DefaultFunction is what the changed kernels return from at once: they never
// gather entropy by themselves, so a guest without a source of it waits for
// ever. Debian's 5.10 has it inlined, so that one can only be a good kernel.
const DefaultFunction = "try_to_generate_entropy"

// Options say how a set is made. The zero value works.
type Options struct {
	// Function is changed in the bad kernels; "" means DefaultFunction.
	Function string
	// Fault is what it does instead; nil means that it returns at once.
	Fault mutate.Fault
	// Candidate says where kernels come from.
	Candidate candidate.Options
}

// Kernel is one of a set.
type Kernel struct {
	candidate.PackageVersion        // as listed; Arg is the original
	Path                     string // the kernel file, stock or changed
	Bad                      bool
}

// Set is a directory of kernels, of which the first ones are good.
type Set struct {
	Dir     string
	Kernels []Kernel // oldest first
	// Gone are the listed kernels that the archive no longer had.
	Gone []string
}

// FirstBad is the kernel that a search must end at.
func (s *Set) FirstBad() Kernel {
	return s.Kernels[slices.IndexFunc(s.Kernels, func(k Kernel) bool { return k.Bad })]
}

// Pattern is what `unwedge bisect --packages` takes.
func (s *Set) Pattern() string { return "dir:" + s.Dir }

// NewestOfSeries picks each stable series' newest kernels, as many of each as
// per says. all is in order, as is what is returned.
func NewestOfSeries(all []candidate.PackageVersion, per int) []candidate.PackageVersion {
	var out []candidate.PackageVersion
	left := map[string]int{}
	seen := map[candidate.Upstream]bool{} // two packagings of one release are one kernel here
	for _, p := range slices.Backward(all) {
		series := p.Upstream.Series()
		if left[series] >= per || seen[p.Upstream] {
			continue
		}
		left[series]++
		seen[p.Upstream] = true
		out = append(out, p)
	}
	slices.Reverse(out)
	return out
}

// resolver finds a listed kernel's files.
type resolver func(ctx context.Context, arg string) (*candidate.Candidate, error)

// Make puts the kernels into dir, which it makes: those older than firstBad as
// they are, all others changed. There must be a good and a bad one; those that
// the archive lists and no longer has are left out. The kernels
// are unpacked, good or bad, so that nothing but the change tells them apart,
// and have their modules and configurations beside them where they came with
// any.
func Make(ctx context.Context, dir string, kernels []candidate.PackageVersion, firstBad string, o Options) (*Set, error) {
	return build(ctx, dir, kernels, firstBad, o, func(ctx context.Context, arg string) (*candidate.Candidate, error) {
		return candidate.Resolve(ctx, arg, o.Candidate)
	})
}

func build(ctx context.Context, dir string, kernels []candidate.PackageVersion, firstBad string, o Options, resolve resolver) (*Set, error) {
	from, ok := candidate.ParseUpstream(firstBad)
	if !ok {
		return nil, fmt.Errorf("make kernel set: %q is not a kernel version", firstBad)
	}
	bad := func(p candidate.PackageVersion) bool { return p.Upstream.Compare(from) >= 0 }
	if len(kernels) < 2 || bad(kernels[0]) || !bad(kernels[len(kernels)-1]) {
		return nil, fmt.Errorf("make kernel set: of %d kernels, some must be older than %s and some not", len(kernels), firstBad)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("make kernel set: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make kernel set: %w", err)
	}
	set := &Set{Dir: dir}
	for _, p := range kernels {
		c, err := resolve(ctx, p.Arg)
		if errors.As(err, new(*candidate.NotFoundError)) {
			set.Gone = append(set.Gone, err.Error())
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("make kernel set: %w", err)
		}
		k := Kernel{PackageVersion: p, Path: filepath.Join(dir, "vmlinux-"+c.Kernel.Release), Bad: bad(p)}
		if err := o.put(ctx, k, c); err != nil {
			return nil, fmt.Errorf("make kernel set: %s: %w", p.Version, err)
		}
		set.Kernels = append(set.Kernels, k)
	}
	if n := len(set.Kernels); n < 2 || set.Kernels[0].Bad || !set.Kernels[n-1].Bad {
		return nil, fmt.Errorf("make kernel set: too many of the kernels are gone: %s", strings.Join(set.Gone, "; "))
	}
	return set, nil
}

// put writes one kernel and links what belongs to it.
func (o Options) put(ctx context.Context, k Kernel, c *candidate.Candidate) error {
	if k.Bad {
		fault := o.Fault
		if fault == nil {
			fault = mutate.Return
		}
		if _, err := mutate.WriteFile(ctx, c.Kernel, k.Path, cmp.Or(o.Function, DefaultFunction), fault); err != nil {
			return err
		}
	} else if err := link(cmp.Or(c.Kernel.Unpacked, c.Kernel.Path), k.Path); err != nil {
		return err
	}
	for from, to := range map[string]string{
		c.ModulesDir: k.Path + candidate.ModulesSuffix,
		c.ConfigPath: filepath.Join(filepath.Dir(k.Path), "config-"+c.Kernel.Release),
	} {
		if from == "" {
			continue
		}
		if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.Symlink(from, to); err != nil {
			return err
		}
	}
	return nil
}

// link makes a second name for a file of the cache, or a copy on another file
// system.
func link(from, to string) error {
	if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if os.Link(from, to) == nil {
		return nil
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}
