// Package mutate breaks one function of a stock kernel on purpose, by changing
// a few bytes of its machine code. No source and no build are needed, and the
// rest of the kernel is what the distribution shipped.
package mutate

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/images/kernel/elf64"
	"github.com/unwedge/unwedge/images/kernel/kallsyms"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// Truth says exactly what was changed, for a test or a report to check a
// diagnosis against.
type Truth struct {
	Function string    `json:"function"`
	Fault    string    `json:"fault"`
	Arch     arch.Arch `json:"arch"`
	// Section is where the function lies: .text, .init.text, ...; "" where
	// the kernel does not say.
	Section string `json:"section,omitempty"`
	// Address is the function's, PatchAddress that of the first changed
	// byte; both at link time (nokaslr).
	Address      uint64 `json:"address"`
	PatchAddress uint64 `json:"patch_address"`
	// Offset is where the changed bytes lie in the unpacked kernel.
	Offset uint64 `json:"offset"`
	Old    string `json:"old"` // hex
	New    string `json:"new"` // hex
	// Unlock is the routine that LeakLock's function no longer calls, and
	// CallOffset where in the function it did.
	Unlock     string `json:"unlock,omitempty"`
	CallOffset uint64 `json:"call_offset,omitempty"`
	// Unchecked names the tables of code that the kernel rewrites at boot
	// which could not be found, so that a clash with them is not ruled out.
	Unchecked []string `json:"unchecked,omitempty"`

	// These are filled by WriteFile.
	Release      string `json:"release,omitempty"`
	BuildID      string `json:"build_id,omitempty"`
	SourceSHA256 string `json:"source_sha256,omitempty"` // of the stock kernel file
	SHA256       string `json:"sha256,omitempty"`        // of the file written
}

// RefusedError says why a function cannot be changed safely.
type RefusedError struct {
	Function, Reason string
}

func (e *RefusedError) Error() string { return fmt.Sprintf("mutate %s: %s", e.Function, e.Reason) }

// Patch returns a copy of an unpacked kernel (kernel.Kernel.Payload) in which
// the function shows the fault. The change lies behind the function's entry
// hooks, so that ftrace and indirect-branch tracking find what they expect;
// LeakLock's is at a call further in. A function that cannot be changed safely
// gives a *RefusedError.
func Patch(payload []byte, a arch.Arch, table *kallsyms.Table, name string, fault Fault) ([]byte, *Truth, error) {
	refuse := func(format string, args ...any) ([]byte, *Truth, error) {
		return nil, nil, &RefusedError{name, fmt.Sprintf(format, args...)}
	}
	sym, reason := find(table, name)
	if reason != "" {
		return refuse("%s", reason)
	}
	i := slices.IndexFunc(machines, func(m *machine) bool { return m.arch == a })
	if i < 0 {
		return nil, nil, fmt.Errorf("mutate %s: unknown architecture %q", name, a)
	}
	t := tables{payload: payload, machine: machines[i], table: table}
	if t.machine.elf {
		var err error
		if t.elf, err = elf64.Parse(payload); err != nil {
			return nil, nil, fmt.Errorf("mutate %s: %w", name, err)
		}
	}
	section, isCode := t.section(sym.Addr)
	if !isCode {
		return refuse("it lies in section %s, which holds no code", section)
	}
	off, ok := table.FileOffset(sym.Addr)
	size, sized := table.Size(sym.Addr)
	if !ok || !sized || off+size > uint64(len(payload)) {
		return refuse("its bytes at %#x are not in the kernel image", sym.Addr)
	}
	body := payload[off : off+size]
	c, err := fault.change(function{addr: sym.Addr, body: body, entry: t.machine.entry(&t, body, sym.Addr), t: &t})
	if err != nil {
		return refuse("%v", err)
	}
	at := sym.Addr + uint64(c.off)
	clash, unchecked := t.clash(at, at+uint64(len(c.code)), c.harmless...)
	if clash != "" {
		return refuse("the kernel rewrites its bytes +%#x to +%#x at boot (%s)", c.off, c.off+len(c.code), clash)
	}
	out := bytes.Clone(payload)
	pos := off + uint64(c.off)
	copy(out[pos:], c.code)
	truth := &Truth{
		Function: name, Fault: fault.String(), Arch: a, Section: section, Address: sym.Addr, PatchAddress: at, Offset: pos,
		Old: hex.EncodeToString(payload[pos : pos+uint64(len(c.code))]), New: hex.EncodeToString(c.code), Unchecked: unchecked,
	}
	if c.unlock != "" {
		truth.Unlock, truth.CallOffset = c.unlock, uint64(c.off)
	}
	return out, truth, nil
}

// find picks the one text symbol of exactly that name.
func find(table *kallsyms.Table, function string) (kallsyms.Symbol, string) {
	all := table.LookupAll(function)
	text := slices.DeleteFunc(slices.Clone(all), func(s kallsyms.Symbol) bool { return !s.IsText() })
	switch {
	case len(text) == 1:
		return text[0], ""
	case len(text) > 1:
		return kallsyms.Symbol{}, fmt.Sprintf("%d functions have this name", len(text))
	case len(all) > 0:
		return kallsyms.Symbol{}, fmt.Sprintf("a data symbol (type %c), not a function", all[0].Type)
	}
	var names []string
	for _, v := range table.Variants(function) {
		if !strings.Contains(v.Name, ".cold") {
			names = append(names, v.Name)
		}
	}
	if len(names) > 0 {
		return kallsyms.Symbol{}, "the compiler made it into " + strings.Join(names, ", ") + ": name one of these"
	}
	return kallsyms.Symbol{}, "no such function in the kernel's symbols: it may be inlined into its callers, or have another name in this release"
}

// section names the section that an address lies in, "" if that is not known;
// isCode is false only where it is known to hold none. An ELF file has section
// headers; a raw Image has the symbols of the linker script
// (arch/arm64/kernel/vmlinux.lds.S).
func (t *tables) section(addr uint64) (name string, isCode bool) {
	if t.elf != nil {
		s, ok := t.elf.SectionAt(addr)
		return s.Name, !ok || s.Flags&elf64.FlagExec != 0
	}
	for _, r := range []struct{ name, start, stop string }{
		{".init.text", "__inittext_begin", "__inittext_end"},
		{".init.text", "_sinittext", "_einittext"},
		{".text", "_stext", "_etext"},
	} {
		start, ok1 := t.table.Lookup(r.start)
		stop, ok2 := t.table.Lookup(r.stop)
		if ok1 && ok2 && addr >= start && addr < stop {
			return r.name, true
		}
	}
	return "", true
}
