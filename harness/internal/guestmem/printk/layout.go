// Package printk reads the kernel's log from a guest's memory: the ring buffer
// of kernel/printk/printk_ringbuffer.c, which is there since 5.10 and from the
// first line of start_kernel on.
package printk

import (
	"errors"
	"fmt"

	"github.com/unwedge/unwedge/harness/internal/guestmem/kimage"
)

type field = kimage.Field

// Layout is how one kernel lays out its log. Made once per image; it may be
// used by many goroutines.
type Layout struct {
	// candidates are where the pointer `prb` may be, link-time addresses: one
	// by the symbol, or many that a function uses, of which the first that
	// holds a ring buffer counts.
	candidates []uint64

	// Of printk_ringbuffer.
	countBits, descs, infos, headID, tailID field
	sizeBits, data                          field
	// Of prb_desc and printk_info.
	descSize, infoSize         uint64
	stateVar, begin, next      field
	seq, ts, textLen, callerID field
}

// NewLayout reads the image's types.
func NewLayout(img *kimage.Image) (*Layout, error) {
	l := &Layout{}
	t := img.Types
	for _, w := range []struct {
		dst  *field
		path []string
	}{
		{&l.countBits, []string{"printk_ringbuffer", "desc_ring", "count_bits"}},
		{&l.descs, []string{"printk_ringbuffer", "desc_ring", "descs"}},
		{&l.infos, []string{"printk_ringbuffer", "desc_ring", "infos"}},
		{&l.headID, []string{"printk_ringbuffer", "desc_ring", "head_id"}},
		{&l.tailID, []string{"printk_ringbuffer", "desc_ring", "tail_id"}},
		{&l.sizeBits, []string{"printk_ringbuffer", "text_data_ring", "size_bits"}},
		{&l.data, []string{"printk_ringbuffer", "text_data_ring", "data"}},
		{&l.stateVar, []string{"prb_desc", "state_var"}},
		{&l.begin, []string{"prb_desc", "text_blk_lpos", "begin"}},
		{&l.next, []string{"prb_desc", "text_blk_lpos", "next"}},
		{&l.seq, []string{"printk_info", "seq"}},
		{&l.ts, []string{"printk_info", "ts_nsec"}},
		{&l.textLen, []string{"printk_info", "text_len"}},
		{&l.callerID, []string{"printk_info", "caller_id"}},
	} {
		var err error
		if *w.dst, err = t.Field(w.path[0], w.path[1:]...); err != nil {
			return nil, fmt.Errorf("unknown layout: %w", err)
		}
	}
	var err error
	if l.descSize, err = t.Size("prb_desc"); err != nil {
		return nil, err
	}
	if l.infoSize, err = t.Size("printk_info"); err != nil {
		return nil, err
	}
	for _, f := range []field{l.stateVar, l.begin, l.next} {
		if f.Off+f.Size > l.descSize {
			return nil, errors.New("implausible layout: a field lies outside of struct prb_desc")
		}
	}
	for _, f := range []field{l.seq, l.ts, l.textLen, l.callerID} {
		if f.Off+f.Size > l.infoSize {
			return nil, errors.New("implausible layout: a field lies outside of struct printk_info")
		}
	}
	if a, ok := img.Symbols.Lookup("prb"); ok {
		l.candidates = []uint64{a}
		return l, nil
	}
	for _, fn := range []string{"kmsg_dump_rewind", "kmsg_dump_get_line", "kmsg_dump_get_buffer", "kmsg_dump_rewind_nolock"} {
		l.candidates = append(l.candidates, img.Refs(fn)...)
	}
	if len(l.candidates) == 0 {
		return nil, errors.New("not in the image's symbols")
	}
	return l, nil
}
