package ehframe

import "encoding/binary"

// The encodings of pointers (LSB 5.0, "DWARF Exception Header Encoding").
const (
	encULEB     = 0x01
	encUData2   = 0x02
	encUData4   = 0x03
	encUData8   = 0x04
	encSLEB     = 0x09
	encSData2   = 0x0a
	encSData4   = 0x0b
	encSData8   = 0x0c
	encPCRel    = 0x10
	encDataRel  = 0x30
	encIndirect = 0x80
	encOmit     = 0xff
)

// cursor reads forward over bytes that lie at addr. What cannot be read is 0
// and sets bad.
type cursor struct {
	b    []byte
	at   int
	addr uint64
	bad  bool
}

// here is the address of the next byte.
func (c *cursor) here() uint64 { return c.addr + uint64(c.at) }

func (c *cursor) done() bool { return c.bad || c.at >= len(c.b) }

func (c *cursor) skip(n uint64) { c.bytes(n) }

func (c *cursor) bytes(n uint64) []byte {
	if c.bad || n > uint64(len(c.b)-c.at) {
		c.bad = true
		return nil
	}
	c.at += int(n)
	return c.b[c.at-int(n) : c.at]
}

func (c *cursor) byte() byte { return byte(c.word(1)) }

// word reads 1 to 8 bytes.
func (c *cursor) word(n int) uint64 {
	var w [8]byte
	copy(w[:], c.bytes(uint64(n)))
	return binary.LittleEndian.Uint64(w[:])
}

// signed reads 1 to 8 bytes and extends the sign.
func (c *cursor) signed(n int) uint64 {
	shift := 64 - 8*n
	return uint64(int64(c.word(n)<<shift) >> shift)
}

func (c *cursor) uleb() uint64 {
	v, _ := c.leb()
	return v
}

func (c *cursor) sleb() int64 {
	v, shift := c.leb()
	if shift < 64 && v>>(shift-1)&1 != 0 {
		v |= ^uint64(0) << shift
	}
	return int64(v)
}

// leb reads a LEB128 of at most ten bytes; shift is how many bits it gave, 7
// at least.
func (c *cursor) leb() (v uint64, shift uint) {
	for shift < 70 {
		b := c.byte()
		v |= uint64(b&0x7f) << shift
		shift += 7
		if b&0x80 == 0 {
			return v, shift
		}
	}
	c.bad = true
	return 0, 7
}

// string reads up to a NUL.
func (c *cursor) string() string {
	for i := c.at; i < len(c.b); i++ {
		if c.b[i] == 0 {
			s := string(c.b[c.at:i])
			c.at = i + 1
			return s
		}
	}
	c.bad = true
	return ""
}

// pointer reads an encoded pointer. data is the base of data-relative ones.
func (c *cursor) pointer(enc byte, data uint64) (v uint64) {
	if enc == encOmit {
		return 0
	}
	at := c.here()
	switch enc & 0x0f {
	case encULEB:
		v = c.uleb()
	case encSLEB:
		v = uint64(c.sleb())
	case encUData2:
		v = c.word(2)
	case encUData4:
		v = c.word(4)
	case 0, encUData8, encSData8:
		v = c.word(8)
	case encSData2:
		v = c.signed(2)
	case encSData4:
		v = c.signed(4)
	default:
		c.bad = true
	}
	switch enc & 0xf0 {
	case 0:
	case encPCRel:
		v += at
	case encDataRel:
		v += data
	default:
		c.bad = true
	}
	return v
}
