package kdump

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
)

// flat is a flattened dump: pieces, each with the place in the dump that it belongs to
// (makedumpfile.h, struct makedumpfile_data_header; big endian).
type flat struct {
	r      io.ReaderAt
	pieces []piece // by their place, without overlap
}

type piece struct{ to, from, size int64 }

// flatHeader is the size of the header of the file, maxPieces bounds what is kept of
// it: 24 bytes each.
const (
	flatHeader = 4096
	maxPieces  = 1 << 24
)

func unflatten(r io.ReaderAt, size int64) (io.ReaderAt, error) {
	f := &flat{r: r}
	for at := int64(flatHeader); ; {
		var h [16]byte
		if _, err := r.ReadAt(h[:], at); err != nil {
			return nil, fmt.Errorf("the dump is truncated at %d bytes", size)
		}
		p := piece{to: int64(binary.BigEndian.Uint64(h[:])), size: int64(binary.BigEndian.Uint64(h[8:])), from: at + int64(len(h))}
		if p.to == -1 {
			break
		}
		if p.size > size-p.from {
			return nil, fmt.Errorf("the dump is truncated at %d bytes", size)
		}
		if p.to < 0 || p.size <= 0 || p.to+p.size < 0 || len(f.pieces) >= maxPieces {
			return nil, fmt.Errorf("%w: a piece of %d bytes for %d at %d of %d bytes", ErrNotDump, p.size, p.to, at, size)
		}
		if n := len(f.pieces) - 1; n >= 0 && f.pieces[n].to == p.to && f.pieces[n].size == p.size {
			f.pieces[n] = p // written anew
		} else {
			f.pieces = append(f.pieces, p)
		}
		at = p.from + p.size
	}
	slices.SortStableFunc(f.pieces, func(a, b piece) int { return cmp.Compare(a.to, b.to) })
	f.join()
	return f, nil
}

// join leaves the last of the pieces for one place, and cuts one that begins inside
// another: makedumpfile writes its headers twice.
func (f *flat) join() {
	var out []piece
	for _, p := range f.pieces {
		if n := len(out) - 1; n >= 0 && out[n].to == p.to && out[n].size <= p.size {
			out[n] = p
			continue
		} else if n >= 0 && p.to < out[n].to+out[n].size {
			cut := min(out[n].to+out[n].size-p.to, p.size)
			p.to, p.from, p.size = p.to+cut, p.from+cut, p.size-cut
		}
		if p.size > 0 {
			out = append(out, p)
		}
	}
	f.pieces = out
}

// ReadAt implements io.ReaderAt.
func (f *flat) ReadAt(b []byte, off int64) (n int, err error) {
	for n < len(b) {
		at := off + int64(n)
		i, found := slices.BinarySearchFunc(f.pieces, at, func(p piece, at int64) int { return cmp.Compare(p.to, at) })
		if !found {
			i--
		}
		if i < 0 || at >= f.pieces[i].to+f.pieces[i].size { // not written: a hole of zeros
			if i+1 >= len(f.pieces) {
				return n, io.EOF
			}
			hole := b[n:][:min(int64(len(b)-n), f.pieces[i+1].to-at)]
			clear(hole)
			n += len(hole)
			continue
		}
		p := f.pieces[i]
		skip := at - p.to
		k, err := f.r.ReadAt(b[n:n+int(min(int64(len(b)-n), p.size-skip))], p.from+skip)
		if n += k; err != nil && n < len(b) {
			return n, err
		}
	}
	return n, nil
}
