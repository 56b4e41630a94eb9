package objects

import (
	"encoding/binary"
	"fmt"

	"github.com/unwedge/unwedge/harness/internal/guestmem/tasks"
	"github.com/unwedge/unwedge/harness/internal/model"
)

// The operations of futex(2) (include/uapi/linux/futex.h).
const (
	futexWait       = 0
	futexLockPI     = 6
	futexWaitBitset = 9
	futexRequeuePI  = 11
	futexLockPI2    = 13
	futexPrivate    = 128
	futexRealtime   = 256
	futexTID        = 0x3fffffff // FUTEX_TID_MASK
)

// futex says at which address a task waits, and for whom: the owner that a PI
// futex has in its word, or the __owner of glibc's mutex, which follows the lock
// (sysdeps/nptl/bits/struct_mutex.h) where the word says that it is taken and
// that others wait. Of other futexes nobody records an owner.
func (g *Guest) futex(w *model.Wait, t *tasks.Task, call *model.Syscall) bool {
	if len(call.Args) < 4 {
		return false
	}
	addr := call.Args[0]
	w.Kind, w.Object = "futex", hex(addr)
	op := call.Args[1] &^ (futexPrivate | futexRealtime)
	if call.Name == "futex_wait" { // 6.7: (uaddr, val, mask, flags, ...)
		op = futexWait
	}
	b, ok := g.userBytes(t, addr, 12)
	if !ok {
		return true
	}
	word := binary.LittleEndian.Uint32(b)
	switch op {
	case futexLockPI, futexLockPI2, futexRequeuePI:
		if o := g.called(t, int(word&futexTID)); o != nil && word != 0 {
			w.Detail = "a PI futex"
			w.Hold(holder(o, "owns it"))
		}
	case futexWait, futexWaitBitset:
		const contended = 2
		owner := g.called(t, int(int32(binary.LittleEndian.Uint32(b[8:]))))
		w.Detail = fmt.Sprintf("its word is %d", word)
		if word == contended && owner != nil && owner.PID > 0 && g.shares(t, owner) {
			w.Detail = "glibc's mutex, by its __owner"
			w.Hold(holder(owner, "owns it"))
		}
	}
	return true
}

// shares says that two tasks are of one process. A mutex that processes share may
// have an owner elsewhere, but so may anything else that happens to be there.
func (g *Guest) shares(a, b *tasks.Task) bool { return a.TGID == b.TGID && a.PID != b.PID }

// userBytes reads a task's user memory.
func (g *Guest) userBytes(t *tasks.Task, addr uint64, n int) ([]byte, bool) {
	if g.user == nil || n <= 0 || n > maxUserRead {
		return nil, false
	}
	p, ok := g.opened[t.Addr]
	if !ok {
		var err error
		if p, err = g.user.Open(t.Addr); err != nil {
			p = nil
		}
		g.opened[t.Addr] = p
	}
	b := make([]byte, n)
	return b, p != nil && p.Read(addr, b) == nil
}

// maxUserRead bounds one read of user memory, in bytes.
const maxUserRead = 16 << 10

// maxPath bounds a text of user space's, in bytes.
const maxPath = 256

// userText reads a string of a task's user memory that ends with a NUL; what
// cannot be printed becomes a question mark.
func (g *Guest) userText(t *tasks.Task, addr uint64) (string, bool) {
	var out []byte
	for len(out) < maxPath {
		n := int(min(64, 4096-addr%4096)) // not beyond the page
		b, ok := g.userBytes(t, addr, n)
		if !ok {
			return "", false
		}
		for _, c := range b {
			switch {
			case c == 0:
				return string(out), len(out) > 0
			case c < ' ' || c > '~':
				c = '?'
			}
			out = append(out, c)
		}
		addr += uint64(n)
	}
	return "", false
}
