package objects

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/unwedge/unwedge/harness/internal/guestmem/tasks"
	"github.com/unwedge/unwedge/harness/internal/model"
)

// page says of a task that waits for a page which file system or device that is
// of: by the struct wait_page_queue around its entry (mm/filemap.c).
func (g *Guest) page(w *model.Wait, qs []queued) bool {
	l := g.l
	if !l.has("wait_page_queue.wait", "wait_page_queue.folio", "page.mapping", "address_space.host") {
		return false
	}
	for _, q := range qs {
		if q.wakes != "wake_page_function" {
			continue
		}
		page, ok := g.pointer(q.entry-l.off("wait_page_queue.wait"), "wait_page_queue.folio")
		if !ok {
			continue
		}
		mapping, ok := g.pointer(page, "page.mapping")
		const flags = 3 // an anonymous page, or one that moves
		if !ok || mapping&flags != 0 {
			continue
		}
		inode, ok := g.pointer(mapping, "address_space.host")
		if !ok {
			continue
		}
		w.Kind, w.Addr = "I/O", page
		w.Object, w.Detail = g.device(inode)
		return true
	}
	return false
}

// device names what an inode is on, and which of it a page is: the device itself
// for that of a block device (block/bdev.c, struct bdev_inode), else its file
// system's.
func (g *Guest) device(inode uint64) (name, page string) {
	mode, ok := g.word(inode, "inode.i_mode")
	if ok && mode&sIFMT == sIFBLK {
		if g.l.has("bdev_inode.bdev", "bdev_inode.vfs_inode") {
			name = g.disk(inode - g.l.off("bdev_inode.vfs_inode") + g.l.off("bdev_inode.bdev"))
		}
		if dev, ok := g.word(inode, "inode.i_rdev"); ok && name == "" {
			name = "block device " + number(dev)
		}
		return name, "a page of the device"
	}
	if ino, ok := g.word(inode, "inode.i_ino"); ok {
		page = fmt.Sprintf("a page of inode %d", ino)
	}
	if sb, ok := g.pointer(inode, "inode.i_sb"); ok {
		name = g.text(sb, "super_block.s_id")
	}
	return name, page
}

// number writes a dev_t (include/linux/kdev_t.h).
func number(dev uint64) string { return fmt.Sprintf("%d:%d", dev>>20, dev&(1<<20-1)) }

// text reads a field that is an array of characters.
func (g *Guest) text(addr uint64, name string) string {
	f, ok := g.l.fields[name]
	if !ok {
		return ""
	}
	b := make([]byte, min(f.Size, 64))
	if g.k.Space.Read(addr+f.Off, b) != nil {
		return ""
	}
	b, _, _ = bytes.Cut(b, []byte{0})
	for i, c := range b {
		if c < ' ' || c > '~' {
			b[i] = '?'
		}
	}
	return string(b)
}

// disk names a struct block_device.
func (g *Guest) disk(bdev uint64) string {
	s := ""
	if disk, ok := g.pointer(bdev, "block_device.bd_disk"); ok {
		s = g.text(disk, "gendisk.disk_name")
	}
	if dev, ok := g.word(bdev, "block_device.bd_dev"); ok && dev != 0 {
		s += " (" + number(dev) + ")"
	}
	return s
}

// buffer says of a task that waits for a buffer which block of which device that
// is: by the key of its entry (fs/buffer.c, __wait_on_buffer).
func (g *Guest) buffer(w *model.Wait, qs []queued) bool {
	l := g.l
	if !l.has("wait_bit_queue_entry.wq_entry", "wait_bit_queue_entry.key", "wait_bit_key.flags", "buffer_head.b_state", "buffer_head.b_bdev") {
		return false
	}
	for _, q := range qs {
		if q.wakes != "wake_bit_function" {
			continue
		}
		key := q.entry - l.off("wait_bit_queue_entry.wq_entry") + l.off("wait_bit_queue_entry.key")
		flags, ok := g.pointer(key, "wait_bit_key.flags")
		if !ok {
			continue
		}
		bh := flags - l.off("buffer_head.b_state")
		bdev, ok := g.pointer(bh, "buffer_head.b_bdev")
		if !ok {
			continue
		}
		if w.Object = g.disk(bdev); w.Object == "" {
			continue
		}
		w.Kind, w.Addr = "I/O", bh
		if n, ok := g.word(bh, "buffer_head.b_blocknr"); ok {
			w.Detail = fmt.Sprintf("block %d", n)
		}
		return true
	}
	return false
}

// bio says of a task in submit_bio_wait which device it waits for: of the words
// on its stack, one points to a struct bio that points back to the completion
// (block/bio.c), or is that itself.
func (g *Guest) bio(w *model.Wait, t *tasks.Task, stack []byte, c uint64) bool {
	l := g.l
	if !l.has("bio.bi_private") {
		return false
	}
	own := words(t, stack, c, maxTries)
	for i := range own {
		own[i] -= l.off("bio.bi_private")
	}
	for i := 0; i+8 <= len(stack); i += 8 {
		if v := binary.LittleEndian.Uint64(stack[i:]); v>>63 == 1 && v&7 == 0 {
			own = append(own, v)
		}
	}
	for _, bio := range own {
		if p, ok := g.pointer(bio, "bio.bi_private"); !ok || p != c {
			continue
		}
		if bdev, ok := g.pointer(bio, "bio.bi_bdev"); ok {
			w.Object = g.disk(bdev)
		} else if disk, ok := g.pointer(bio, "bio.bi_disk"); ok { // before 5.12
			w.Object = g.text(disk, "gendisk.disk_name")
		}
		if w.Object != "" {
			w.Kind, w.Addr, w.Detail = "I/O", bio, "a bio"
			return true
		}
	}
	return false
}
