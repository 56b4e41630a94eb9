package kdump

import (
	"bytes"
	"fmt"
	"io"

	"github.com/anchore/go-lzo"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// The ways that a page may be compressed (diskdump_mod.h, DUMP_DH_COMPRESSED_*).
const (
	zlibPage   = 0x1
	lzoPage    = 0x2
	snappyPage = 0x4
	zstdPage   = 0x20
	allKinds   = zlibPage | lzoPage | snappyPage | zstdPage
)

// unpackers unpack a page of size bytes, and never give more than one byte more.
var unpackers = map[uint32]func(raw []byte, size int) ([]byte, error){
	0: func(raw []byte, _ int) ([]byte, error) { return raw, nil },
	zlibPage: func(raw []byte, size int) ([]byte, error) {
		r, err := zlib.NewReader(bytes.NewReader(raw))
		if err != nil {
			return nil, err
		}
		return io.ReadAll(io.LimitReader(r, int64(size)+1))
	},
	lzoPage: func(raw []byte, size int) ([]byte, error) {
		out := make([]byte, size)
		n, err := lzo.Decompress(raw, out)
		if err != nil {
			return nil, err
		}
		return out[:n], nil
	},
	snappyPage: func(raw []byte, size int) ([]byte, error) {
		n, err := snappy.DecodedLen(raw)
		if err != nil {
			return nil, err
		}
		if n != size {
			return nil, fmt.Errorf("it would have %d bytes", n)
		}
		return snappy.Decode(nil, raw)
	},
	zstdPage: func(raw []byte, size int) ([]byte, error) {
		r, err := zstd.NewReader(bytes.NewReader(raw), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(8<<20))
		if err != nil {
			return nil, err
		}
		defer r.Close()
		return io.ReadAll(io.LimitReader(r, int64(size)+1))
	},
}

// unpack unpacks a page.
func unpack(flags uint32, raw []byte, size int) ([]byte, error) {
	f := unpackers[flags&allKinds]
	if f == nil {
		return nil, fmt.Errorf("compressed in an unknown way: %#x", flags)
	}
	return f(raw, size)
}
