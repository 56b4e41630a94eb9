package kernel

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/mikelolasagasti/xz"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz/lzma"
)

// Compression names how a kernel's payload is packed.
type Compression string

// The ways the kernel's build packs itself (init/Kconfig, KERNEL_*).
const (
	None  Compression = "none"
	Gzip  Compression = "gzip"
	XZ    Compression = "xz"
	Zstd  Compression = "zstd"
	LZ4   Compression = "lz4"
	LZMA  Compression = "lzma"
	Bzip2 Compression = "bzip2"
	lzo   Compression = "lzo"
)

// Dictionary limits. The kernel's scripts/xz_wrap.sh uses up to 128 MiB and
// `zstd -22 --ultra` a window of 128 MiB.
const (
	maxDict     = 256 << 20
	maxUnpacked = 512 << 20
)

var errLZO = errors.New("lzo compression is not supported")

var errTooBig = fmt.Errorf("unpacks to more than %d MiB", maxUnpacked>>20)

var magics = []struct {
	c     Compression
	magic string
}{
	{Gzip, "\x1f\x8b\x08"},
	{XZ, "\xfd7zXZ\x00"},
	{Zstd, "\x28\xb5\x2f\xfd"},
	{LZ4, "\x02\x21\x4c\x18"}, // the legacy frame, `lz4 -l`
	{LZ4, "\x04\x22\x4d\x18"},
	{Bzip2, "BZh"},
	{lzo, "\x89LZO"},
	{LZMA, "\x5d\x00\x00"},
}

// DetectCompression reads from the first bytes how a stream is packed; None
// where no magic fits.
func DetectCompression(b []byte) Compression {
	for _, m := range magics {
		if bytes.HasPrefix(b, []byte(m.magic)) {
			return m.c
		}
	}
	return None
}

// NewReader unpacks one stream of the named compression. It stops at the
// stream's end, and its memory is bounded whatever the stream's header claims.
func NewReader(c Compression, r io.Reader) (io.ReadCloser, error) {
	switch c {
	case None:
		return io.NopCloser(r), nil
	case Gzip:
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, err
		}
		z.Multistream(false)
		return z, nil
	case XZ:
		// The kernel's xz streams go through the BCJ x86 filter
		// (scripts/xz_wrap.sh), which few Go readers know.
		z, err := xz.NewReader(r, maxDict)
		if err != nil {
			return nil, err
		}
		z.Multistream(false)
		return io.NopCloser(z), nil
	case Zstd:
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxDict))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	case LZ4:
		return io.NopCloser(lz4.NewReader(r)), nil
	case LZMA:
		return newLZMA(r)
	case Bzip2:
		return io.NopCloser(bzip2.NewReader(r)), nil
	default:
		return nil, fmt.Errorf("compression %q is not supported", c)
	}
}

// newLZMA checks the dictionary size in the header before the reader
// allocates it.
func newLZMA(r io.Reader) (io.ReadCloser, error) {
	br := bufio.NewReader(r)
	head, err := br.Peek(lzma.HeaderLen)
	if err != nil {
		return nil, io.ErrUnexpectedEOF
	}
	if dict := binary.LittleEndian.Uint32(head[1:]); dict > maxDict {
		return nil, fmt.Errorf("dictionary of %d MiB, limit is %d", dict>>20, maxDict>>20)
	}
	z, err := lzma.NewReader(br)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(z), nil
}

// unpack unpacks a whole stream of at most maxUnpacked bytes. sized says that
// the unpacked length follows the stream as four little-endian bytes, as the
// kernel's build appends it for all formats but gzip (scripts/Makefile.lib,
// size_append).
func unpack(ctx context.Context, packed []byte, sized bool) ([]byte, Compression, error) {
	c := DetectCompression(packed)
	switch c {
	case None:
		return nil, c, errors.New("no known compression magic")
	case lzo:
		return nil, c, errLZO
	}
	want := -1
	if sized && c != Gzip && len(packed) > 4 {
		cut := len(packed) - 4
		want = int(binary.LittleEndian.Uint32(packed[cut:]))
		packed = packed[:cut]
		if want > maxUnpacked {
			return nil, c, errTooBig
		}
	}
	z, err := NewReader(c, bytes.NewReader(packed))
	if err != nil {
		return nil, c, fmt.Errorf("corrupt %s stream: %w", c, err)
	}
	defer z.Close()
	var out bytes.Buffer
	if want > 0 {
		out.Grow(want + bytes.MinRead)
	}
	n, err := out.ReadFrom(io.LimitReader(ctxReader{ctx, z}, maxUnpacked+1))
	switch {
	case ctx.Err() != nil:
		return nil, c, ctx.Err()
	case n > maxUnpacked:
		return nil, c, errTooBig
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, c, fmt.Errorf("truncated or corrupt %s stream", c)
	case err != nil:
		return nil, c, fmt.Errorf("corrupt %s stream: %w", c, err)
	case want >= 0 && int(n) != want:
		return nil, c, fmt.Errorf("corrupt %s stream: %d bytes unpacked, the trailer says %d", c, n, want)
	}
	return out.Bytes(), c, nil
}

// ctxReader ends a long read when its context does.
type ctxReader struct {
	ctx context.Context //nolint:containedctx // lives for one call
	r   io.Reader
}

func (r ctxReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
