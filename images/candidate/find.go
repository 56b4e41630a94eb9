package candidate

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/images/cache"
	"github.com/unwedge/unwedge/images/kernel"
)

// Search says which kernel is looked for, and where else than in the usual places.
type Search struct {
	// Is says whether a kernel with this banner and build ID is it.
	Is func(banner, buildID string) bool
	// Releases are what `uname -r` may print on it, BuildID its build ID; "" where
	// it is not known.
	Releases []string
	BuildID  string
	// First are files and build trees to look at first.
	First []string
	// root stands for /, in tests.
	root string
}

// places are where an installed kernel, or its file with debug information, may be; %s
// is the release.
var places = []string{
	"/boot/vmlinuz-%s", "/boot/vmlinux-%s", "/boot/Image-%s", "/boot/kernel-%s",
	"/lib/modules/%s/vmlinuz", "/lib/modules/%s/vmlinux", "/lib/modules/%s/build",
	"/usr/lib/debug/boot/vmlinux-%s", "/usr/lib/debug/lib/modules/%s/vmlinux",
}

// safeName is what may stand in a file's name: the word comes from a guest.
var safeName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+~-]{0,63}$`)

// Find looks for a kernel among the files that are on this machine. It fetches nothing.
// Where it finds none, looked says where it has looked.
func Find(ctx context.Context, s Search, opts Options) (found *Candidate, looked []string, err error) {
	looked = append(slices.Clone(s.First), "/boot", "/lib/modules", "/usr/lib/debug", "unwedge's cache")
	for _, path := range s.paths() {
		if err := ctx.Err(); err != nil {
			return nil, looked, context.Cause(ctx)
		}
		if full := filepath.Join(s.root, path); firstFile(full) == "" && !isDir(full) {
			continue
		}
		c, err := Resolve(ctx, filepath.Join(s.root, path), opts)
		if err == nil && s.Is(c.Kernel.Banner, c.Kernel.BuildID) {
			return c, looked, nil
		}
	}
	for _, c := range cached(opts.Cache) {
		if c.Kernel.Arch == opts.Arch && s.Is(c.Kernel.Banner, c.Kernel.BuildID) {
			return c, looked, nil
		}
	}
	return nil, looked, nil
}

// paths are the files to look at, in this order.
func (s Search) paths() []string {
	out := slices.Clone(s.First)
	for _, r := range s.Releases {
		if !safeName.MatchString(r) {
			continue
		}
		for _, p := range places {
			out = append(out, fmt.Sprintf(p, r))
		}
	}
	if id := strings.ToLower(s.BuildID); len(id) > 2 && safeName.MatchString(id) {
		out = append(out, filepath.Join("/usr/lib/debug/.build-id", id[:2], id[2:]+".debug"))
	}
	return out
}

// cached are the kernels whose files the cache has.
func cached(store *cache.Store) []*Candidate {
	if store == nil {
		return nil
	}
	records, err := filepath.Glob(filepath.Join(store.Dir(), "kernel", "*", recordName))
	if err != nil {
		return nil
	}
	var out []*Candidate
	for _, path := range records {
		c, err := readRecord(filepath.Dir(path))
		if err != nil {
			continue // another process has removed it
		}
		if k := c.Kernel; k.Path == "" {
			if k.Unpacked == "" {
				continue // a file elsewhere, which was its own payload
			}
			if c.Kernel, err = asUnpacked(k); err != nil {
				continue
			}
		}
		c.Origin = c.Kernel.Path
		out = append(out, c)
	}
	return out
}

// asUnpacked is the kernel as the file that it was unpacked to.
func asUnpacked(k *kernel.Kernel) (*kernel.Kernel, error) {
	if firstFile(k.Unpacked) == "" {
		return nil, &NotFoundError{k.Unpacked, "no such file"}
	}
	plain := *k
	plain.Path = k.Unpacked
	return &plain, nil
}
