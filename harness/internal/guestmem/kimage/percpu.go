package kimage

import "github.com/cilium/ebpf/btf"

// perCPU are the per-CPU variables that BTF lists, by their places in their section
// (pahole 1.18 and later write them).
func perCPU(spec *btf.Spec) map[string]Field {
	out := map[string]Field{}
	var sec *btf.Datasec
	if spec.TypeByName(".data..percpu", &sec) != nil {
		return nil
	}
	for _, v := range sec.Vars {
		if named, ok := v.Type.(*btf.Var); ok {
			out[named.Name] = Field{uint64(v.Offset), uint64(v.Size)}
		}
	}
	return out
}

// PerCPU finds a per-CPU variable: its link-time address and its size in bytes. anchor
// names another one whose address at is known, from which its place is counted where
// kallsyms names no data (CONFIG_KALLSYMS_ALL off); at is 0 for none. ok is false for a
// variable that neither kallsyms nor the types have.
func (img *Image) PerCPU(name, anchor string, at uint64) (link, size uint64, ok bool) {
	v, listed := img.Types.percpu[name]
	if link, ok := img.Symbols.Lookup(name); ok {
		size := v.Size
		if !listed {
			size, ok = img.Symbols.Size(link) // up to the next symbol
		}
		return link, size, ok
	}
	a, ok := img.Types.percpu[anchor]
	if !listed || !ok || at == 0 || at < a.Off {
		return 0, 0, false
	}
	return at - a.Off + v.Off, v.Size, true
}
