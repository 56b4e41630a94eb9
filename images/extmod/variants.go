package extmod

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/unwedge/unwedge/images/kernel/elf64"
)

// Mismatch is a way in which a module does not fit its kernel.
type Mismatch string

// The mismatches that Spoil makes.
const (
	WrongVermagic Mismatch = "vermagic"
	WrongCRC      Mismatch = "crc"
	UnknownSymbol Mismatch = "unknown-symbol"
)

// Mismatches lists them.
func Mismatches() []Mismatch { return []Mismatch{WrongVermagic, WrongCRC, UnknownSymbol} }

// ErrNotApplicable says that a mismatch cannot be made of this module: what would
// be made wrong is not there.
var ErrNotApplicable = errors.New("the module has nothing to change")

// Spoil returns a copy of a good module in which one thing is wrong, by a change
// of its bytes that keeps every size: a flag of its vermagic, the CRC of a symbol
// that it uses, or the name of one. symbol is the symbol, "" for the vermagic.
func Spoil(module []byte, how Mismatch) (spoilt []byte, symbol string, err error) {
	b := slices.Clone(module)
	f, err := elf64.Parse(b)
	if err != nil {
		return nil, "", fmt.Errorf("read module: %w", err)
	}
	switch how {
	case WrongVermagic:
		err = spoilVermagic(f)
	case WrongCRC:
		symbol, err = spoilCRC(f)
	case UnknownSymbol:
		symbol, err = spoilName(f)
	default:
		err = fmt.Errorf("no mismatch %q", how)
	}
	if err != nil {
		return nil, "", fmt.Errorf("spoil module, %s: %w", how, err)
	}
	return b, symbol, nil
}

// spoilVermagic changes a letter of what follows the release, which the kernel
// compares even where it compares CRCs; the last letter of the release where
// nothing follows. f.Data is the module's own bytes.
func spoilVermagic(f *elf64.File) error {
	sec, _ := f.Section(".modinfo")
	info := f.Data(sec)
	key := []byte("vermagic=")
	at := bytes.Index(info, key)
	if at < 0 || at > 0 && info[at-1] != 0 {
		return ErrNotApplicable
	}
	magic, _, _ := bytes.Cut(info[at+len(key):], []byte{0})
	if len(magic) == 0 {
		return ErrNotApplicable
	}
	i := bytes.IndexByte(magic, ' ') + 1
	if i == 0 || i >= len(magic) {
		i = len(bytes.TrimRight(magic, " ")) - 1
	}
	magic[max(i, 0)] = 'X'
	return nil
}

// spoilCRC changes the CRC of a symbol that the module uses, wherever it is.
func spoilCRC(f *elf64.File) (string, error) {
	used, err := usedSymbols(f)
	if err != nil {
		return "", err
	}
	symbol := ""
	if sec, ok := allocated(f, "__versions"); ok {
		for b := f.Data(sec); len(b) >= versionSize; b = b[versionSize:] {
			name, _, _ := bytes.Cut(b[8:versionSize], []byte{0})
			if symbol == "" && used.has(string(name)) || symbol == string(name) {
				symbol = string(name)
				b[0] ^= 0xff
			}
		}
	}
	crcs, _ := allocated(f, "__version_ext_crcs")
	names, _ := allocated(f, "__version_ext_names")
	c, n := f.Data(crcs), f.Data(names)
	for ; len(c) >= 4; c = c[4:] {
		name, rest, ok := bytes.Cut(n, []byte{0})
		if !ok {
			break
		}
		if symbol == "" && used.has(string(name)) || symbol == string(name) {
			symbol = string(name)
			c[0] ^= 0xff
		}
		n = rest
	}
	if symbol == "" {
		return "", ErrNotApplicable
	}
	return symbol, nil
}

// used are the symbols that a module uses, in their order, and where their names
// are.
type used []usedSymbol

type usedSymbol struct {
	name string
	at   uint32 // in the string table
}

func (u used) has(name string) bool {
	return slices.ContainsFunc(u, func(s usedSymbol) bool { return s.name == name })
}

// usedSymbols leaves out what compilers add by themselves, such as __fentry__.
func usedSymbols(f *elf64.File) (used, error) {
	st, ok := findSymbols(f)
	if !ok {
		return nil, ErrNotApplicable
	}
	var out used
	b, names := f.Data(st.table), f.Data(st.names)
	for i := symbolSize; i+symbolSize <= len(b) && len(out) < maxUsed; i += symbolSize {
		at := binary.LittleEndian.Uint32(b[i:])
		name, ok := cString(names, at)
		if !ok {
			return nil, fmt.Errorf("symbol %d has a bad name", i/symbolSize)
		}
		if binary.LittleEndian.Uint16(b[i+6:]) == 0 && b[i+4]>>4 == 1 && name != "" && name[:min(2, len(name))] != "__" { // undefined, STB_GLOBAL
			out = append(out, usedSymbol{name, at})
		}
	}
	return out, nil
}

// spoilName renames a symbol that the module uses, by its first letter: other
// names may share the end of its bytes.
func spoilName(f *elf64.File) (string, error) {
	u, err := usedSymbols(f)
	if err != nil {
		return "", err
	}
	if len(u) == 0 {
		return "", ErrNotApplicable
	}
	st, _ := findSymbols(f)
	names := f.Data(st.names)
	names[u[0].at] = 'X'
	return "X" + u[0].name[1:], nil
}
