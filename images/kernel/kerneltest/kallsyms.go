package kerneltest

// Symbol is one symbol of a kallsyms table made by Kallsyms.
type Symbol struct {
	Off  uint64 // from the table's base
	Type byte
	Name string
}

// Kallsyms writes kallsyms tables in the layout of Linux 6.15 to 6.19
// (scripts/kallsyms.c), to be placed at an address aligned to 8. The symbols
// are in order of their offsets, and no name is longer than 126 bytes.
func Kallsyms(base uint64, syms []Symbol) []byte {
	b := pad(le.AppendUint32(nil, uint32(len(syms))), 8)
	start := len(b)
	var marks, offsets []byte
	for i, s := range syms {
		if i%256 == 0 {
			marks = le.AppendUint32(marks, uint32(len(b)-start))
		}
		offsets = le.AppendUint32(offsets, uint32(s.Off))
		b = append(b, byte(len(s.Name)+1), s.Type)
		b = append(b, s.Name...)
	}
	b = append(pad(b, 8), pad(marks, 8)...)
	var index []byte
	start = len(b)
	for c := range 256 {
		index = le.AppendUint16(index, uint16(len(b)-start))
		if c > ' ' && c < 0x7f {
			b = append(b, byte(c), 0)
		} else {
			b = append(b, "xy\x00"...)
		}
	}
	b = append(pad(b, 8), index...)
	b = append(b, pad(offsets, 8)...)
	return le.AppendUint64(b, base)
}
