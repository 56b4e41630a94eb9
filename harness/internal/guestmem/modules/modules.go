// Package modules lists the modules that a guest's kernel has loaded, and names
// addresses in them by their own symbol tables.
package modules

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/guestmem/kimage"
	"github.com/unwedge/unwedge/harness/internal/guestmem/locate"
	"github.com/unwedge/unwedge/harness/internal/guestmem/unwind"
)

type field = kimage.Field

// Layout is how one kernel lays out its modules. Made once per image; it may be
// used by many goroutines.
type Layout struct {
	heads []uint64 // where the list's head may be, link-time addresses

	list, name field
	regions    []region // that hold code
	data       []region // that hold data, before 6.4 all of the module
	symbols    field    // kallsyms, a struct mod_kallsyms *
	orcIP, orc, orcCount,
	symtab, numSymtab, strtab field
}

// region is where struct module says that a piece of code lies.
type region struct{ base, size field }

// Module is one module.
type Module struct {
	unwind.Module
	data     []unwind.Range
	kallsyms uint64
}

// MaxModules bounds a list.
const MaxModules = 1024

// modText and modInitText are indices of struct module's mem (6.4, enum
// mod_mem_type).
const (
	modText        = 0
	modData        = 1
	modRodata      = 2
	modROAfterInit = 3
	modInitText    = 4
)

// NewLayout reads the image's types. A kernel without CONFIG_MODULES gives an
// error that is kimage.ErrNoType.
func NewLayout(img *kimage.Image) (*Layout, error) {
	l, t := &Layout{}, img.Types
	for _, w := range []struct {
		dst  *field
		path []string
	}{
		{&l.list, []string{"module", "list"}}, {&l.name, []string{"module", "name"}},
		{&l.symbols, []string{"module", "kallsyms"}}, {&l.symtab, []string{"mod_kallsyms", "symtab"}},
		{&l.numSymtab, []string{"mod_kallsyms", "num_symtab"}}, {&l.strtab, []string{"mod_kallsyms", "strtab"}},
	} {
		var err error
		if *w.dst, err = t.Field(w.path[0], w.path[1:]...); err != nil {
			return nil, fmt.Errorf("list modules: %w", err)
		}
	}
	l.findRegions(t)
	if len(l.regions) == 0 {
		return nil, fmt.Errorf("list modules: unknown layout of struct module: %w", kimage.ErrNoType)
	}
	l.orcIP = optional(t, "arch", "orc_unwind_ip")
	l.orc = optional(t, "arch", "orc_unwind")
	l.orcCount = optional(t, "arch", "num_orcs")
	if a, ok := img.Lookup("modules"); ok {
		l.heads = []uint64{a}
	} else {
		for _, fn := range []string{"print_modules", "module_kallsyms_lookup_name", "find_module_all", "m_start"} {
			l.heads = append(l.heads, img.Refs(fn)...)
		}
	}
	return l, nil
}

func optional(t *kimage.Types, path ...string) field {
	f, err := t.Field("module", path...)
	if err != nil {
		return field{}
	}
	return f
}

func (l *Layout) findRegions(t *kimage.Types) {
	mem := optional(t, "mem") // since 6.4
	base, err1 := t.Field("module_memory", "base")
	size, err2 := t.Field("module_memory", "size")
	one, err3 := t.Size("module_memory")
	if errors.Join(err1, err2, err3) == nil && mem.Size > modInitText*one {
		of := func(i uint64) region {
			at := mem.Off + i*one
			return region{field{Off: at + base.Off, Size: base.Size}, field{Off: at + size.Off, Size: size.Size}}
		}
		l.regions = []region{of(modText), of(modInitText)}
		l.data = []region{of(modData), of(modRodata), of(modROAfterInit)}
		return
	}
	for _, part := range []string{"core_layout", "init_layout"} {
		r := region{optional(t, part, "base"), optional(t, part, "text_size")}
		if r.base.Size != 0 && r.size.Size != 0 {
			l.regions = append(l.regions, r)
		}
	}
	l.data = []region{{optional(t, "core_layout", "base"), optional(t, "core_layout", "size")}}
}

// Read lists the modules. What was read before an error is returned with it.
func (l *Layout) Read(ctx context.Context, k *locate.Kernel) ([]Module, error) {
	head, ok := l.head(k)
	if !ok {
		return nil, errors.New("list modules: the list was not found")
	}
	var out []Module
	seen := map[uint64]bool{}
	for at := head; ; {
		next, err := k.Space.Uint64(at)
		if err != nil {
			return out, fmt.Errorf("list modules: %w", err)
		}
		switch {
		case next == head:
			return out, nil
		case seen[next] || len(out) == MaxModules || ctx.Err() != nil:
			return out, fmt.Errorf("list modules: stopped after %d: the list has no end or takes too long", len(out))
		}
		seen[next] = true
		m, err := l.read(k, next-l.list.Off)
		if err != nil {
			return out, err
		}
		out = append(out, m)
		at = next
	}
}

// head finds the list's head: the first candidate that heads a list of modules,
// else one that is an empty list.
func (l *Layout) head(k *locate.Kernel) (uint64, bool) {
	var empty uint64
	for _, h := range l.heads {
		a := k.Run(h)
		next, err1 := k.Space.Uint64(a)
		prev, err2 := k.Space.Uint64(a + 8)
		if err1 != nil || err2 != nil {
			continue
		}
		if next == a {
			if prev == a && empty == 0 {
				empty = a
			}
			continue
		}
		if back, err := k.Space.Uint64(next + 8); err == nil && back == a {
			if _, ok := l.readName(k, next-l.list.Off); ok {
				return a, true
			}
		}
	}
	return empty, empty != 0
}

func (l *Layout) readName(k *locate.Kernel, mod uint64) (string, bool) {
	b := make([]byte, min(l.name.Size, 64))
	if k.Space.Read(mod+l.name.Off, b) != nil {
		return "", false
	}
	s, _, ok := strings.Cut(string(b), "\x00")
	if !ok || s == "" {
		return "", false
	}
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' {
			return "", false
		}
	}
	return s, true
}

// maxText bounds a module's code: x86_64 and arm64 have less than 2 GiB for all.
const maxText = 1 << 31

func (l *Layout) read(k *locate.Kernel, mod uint64) (Module, error) {
	m := Module{}
	var ok bool
	if m.Name, ok = l.readName(k, mod); !ok {
		return m, fmt.Errorf("list modules: no module at %#x", mod)
	}
	get := func(f field) uint64 {
		if f.Size == 0 {
			return 0
		}
		v, err := k.Space.Uint(mod+f.Off, int(min(f.Size, 8)))
		if err != nil {
			return 0
		}
		return v
	}
	ranges := func(rs []region) (out []unwind.Range) {
		for _, r := range rs {
			base, size := get(r.base), get(r.size)
			if base != 0 && size != 0 && size < maxText && base+size > base {
				out = append(out, unwind.Range{Start: base, End: base + size})
			}
		}
		return out
	}
	m.Text, m.data = ranges(l.regions), ranges(l.data)
	m.ORCIP, m.ORC, m.ORCCount = get(l.orcIP), get(l.orc), int(min(get(l.orcCount), 1<<24))
	m.kallsyms = get(l.symbols)
	return m, nil
}
