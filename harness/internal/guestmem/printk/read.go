package printk

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/unwedge/unwedge/harness/internal/guestmem/locate"
)

// The bounds of what is read: CONFIG_LOG_BUF_SHIFT is 25 at most, and a record
// has at least 32 bytes of text on average (PRB_AVGBITS 5).
const (
	maxSizeBits  = 25
	maxCountBits = 20
	minBits      = 4
	maxOut       = 8 << 20 // bytes of text that are kept, the newest
	word         = 8
)

// The states of a descriptor, in the upper two bits of its state word
// (kernel/printk/printk_ringbuffer.h).
const (
	stateShift = 62
	idMask     = 1<<stateShift - 1
	committed  = 1
	finalized  = 2
)

// ErrNoRing says that no ring buffer was found where the image points to.
var ErrNoRing = errors.New("no ring buffer was found")

// ring is a log that was read from memory.
type ring struct {
	l                 *Layout
	count             uint64 // of descriptors, a power of two
	head, tail        uint64 // their ids
	descs, infos, buf []byte
}

// Read returns the log as the console shows it: each line with its time.
// Records that are being written are left out.
func (l *Layout) Read(ctx context.Context, k *locate.Kernel) ([]byte, error) {
	err := ErrNoRing
	for _, c := range l.candidates {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var r *ring
		if r, err = l.read(k, k.Run(c)); err == nil {
			return r.text(), nil
		}
	}
	if len(l.candidates) > 1 {
		return nil, ErrNoRing
	}
	return nil, err
}

// Fits says that the log has this layout, for one that was not read from types: every
// record that is whole has its number, one more than that of the record before it, and a
// text that is no longer than its place.
func (l *Layout) Fits(ctx context.Context, k *locate.Kernel) bool {
	for _, c := range l.candidates {
		if ctx.Err() != nil {
			return false
		}
		if r, err := l.read(k, k.Run(c)); err == nil && r.fits() {
			return true
		}
	}
	return false
}

func (r *ring) fits() bool {
	n := min((r.head-r.tail)&idMask+1, r.count)
	whole, first := 0, uint64(0)
	for i := range n {
		id := (r.head - (n - 1) + i) & idMask
		at := id & (r.count - 1)
		desc, info := r.descs[at*r.l.descSize:][:r.l.descSize], r.infos[at*r.l.infoSize:][:r.l.infoSize]
		sv := get(desc, r.l.stateVar)
		if sv&idMask != id || sv>>stateShift != committed && sv>>stateShift != finalized {
			continue
		}
		text, ok := r.block(get(desc, r.l.begin), get(desc, r.l.next), id)
		if !ok {
			continue
		}
		if whole == 0 {
			first = get(info, r.l.seq) - i
		}
		if get(info, r.l.seq) != first+i || text != nil && get(info, r.l.textLen) > uint64(len(text)) {
			return false
		}
		whole++
	}
	return whole > 1
}

// read reads the ring that the pointer at an address points to.
func (l *Layout) read(k *locate.Kernel, pointer uint64) (*ring, error) {
	prb, err := k.Space.Uint64(pointer)
	if err != nil {
		return nil, err
	}
	get := func(f field) uint64 {
		v, e := k.Space.Uint(prb+f.Off, int(min(f.Size, word)))
		err = errors.Join(err, e)
		return v
	}
	countBits, sizeBits := get(l.countBits), get(l.sizeBits)
	r := &ring{l: l, head: get(l.headID), tail: get(l.tailID)}
	descs, infos, data := get(l.descs), get(l.infos), get(l.data)
	if err != nil {
		return nil, err
	}
	if countBits < minBits || countBits > maxCountBits || sizeBits < minBits || sizeBits > maxSizeBits ||
		l.descSize > 1<<10 || l.infoSize > 1<<10 {
		return nil, fmt.Errorf("%w: it would have 2^%d records and 2^%d bytes", ErrNoRing, countBits, sizeBits)
	}
	r.count = 1 << countBits
	for _, part := range []struct {
		dst  *[]byte
		addr uint64
		size uint64
	}{{&r.descs, descs, r.count * l.descSize}, {&r.infos, infos, r.count * l.infoSize}, {&r.buf, data, 1 << sizeBits}} {
		*part.dst = make([]byte, part.size)
		if err := k.Space.Read(part.addr, *part.dst); err != nil {
			return nil, fmt.Errorf("read the ring buffer: %w", err)
		}
	}
	return r, nil
}

// text prints all records from the tail to the head.
func (r *ring) text() []byte {
	var out bytes.Buffer
	n := min((r.head-r.tail)&idMask+1, r.count)
	for i := range n {
		if id := (r.head - (n - 1) + i) & idMask; r.record(id, &out) && out.Len() > 2*maxOut {
			out.Next(out.Len() - maxOut)
		}
	}
	b := out.Bytes()
	if len(b) > maxOut {
		b = b[len(b)-maxOut:]
		b = b[bytes.IndexByte(b, '\n')+1:]
	}
	return b
}

// record prints one record, if it is whole.
func (r *ring) record(id uint64, out *bytes.Buffer) bool {
	at := id & (r.count - 1)
	desc, info := r.descs[at*r.l.descSize:][:r.l.descSize], r.infos[at*r.l.infoSize:][:r.l.infoSize]
	sv := get(desc, r.l.stateVar)
	if sv&idMask != id || sv>>stateShift != committed && sv>>stateShift != finalized {
		return false
	}
	text, ok := r.block(get(desc, r.l.begin), get(desc, r.l.next), id)
	if !ok {
		return false
	}
	text = text[:min(uint64(len(text)), get(info, r.l.textLen))]
	us := get(info, r.l.ts) / 1000
	for line := range bytes.SplitSeq(text, []byte("\n")) {
		fmt.Fprintf(out, "[%5d.%06d] %s\n", us/1e6, us%1e6, line)
	}
	return true
}

// block returns a record's text: behind the id, at the place that its logical
// position has in the buffer, or at the buffer's beginning where it would run
// over its end. A record without text has odd positions.
func (r *ring) block(begin, next, id uint64) ([]byte, bool) {
	size := uint64(len(r.buf))
	if begin&1 == 1 || next&1 == 1 {
		return nil, begin == next || begin&1 == 1
	}
	from, to := begin&(size-1), next&(size-1)
	if (begin^next)&^(size-1) != 0 { // into another turn of the ring
		if to == 0 {
			to = size
		} else {
			from = 0
		}
	}
	if to < from+word || binary.LittleEndian.Uint64(r.buf[from:]) != id {
		return nil, false
	}
	return r.buf[from+word : to], true
}

func get(b []byte, f field) uint64 {
	var w [word]byte
	copy(w[:], b[f.Off:f.Off+min(f.Size, word)])
	return binary.LittleEndian.Uint64(w[:])
}
