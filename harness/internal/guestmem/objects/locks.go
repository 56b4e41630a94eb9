package objects

import (
	"fmt"
	"slices"

	"github.com/unwedge/unwedge/harness/internal/guestmem/tasks"
	"github.com/unwedge/unwedge/harness/internal/model"
)

// The bounds of the locks of one file.
const (
	maxFileLocks = 256
	maxLockDepth = 8
)

// fileLock says of a task in flock or fcntl who holds the lock: the file's locks
// (struct file_lock_context) are searched for the one that has the task's request
// among those that wait for it.
func (g *Guest) fileLock(w *model.Wait, t *tasks.Task, fd uint64, posix bool) bool {
	l := g.l
	if !l.has("lock.list", "lock.requests", "lock.member", "lock.pid", "lock.file") {
		return false
	}
	file, ok := g.fd(t, fd)
	if !ok {
		return false
	}
	inode, ok1 := g.pointer(file, "file.f_inode")
	ctx, ok2 := g.pointer(inode, "inode.i_flctx")
	of := "file_lock_context.flc_flock"
	if posix {
		of = "file_lock_context.flc_posix"
	}
	if !ok1 || !ok2 || !l.has(of) {
		return false
	}
	found := uint64(0)
	g.each(ctx+l.off(of), l.off("lock.list"), maxFileLocks, func(lock uint64) bool {
		left := maxFileLocks
		if g.asksFor(lock, file, t.TGID, maxLockDepth, &left) {
			found = lock
		}
		return found == 0
	})
	if found == 0 {
		return false
	}
	w.Kind, w.Addr = "flock", found
	if posix {
		w.Kind = "POSIX lock"
	}
	w.Object, _ = g.describe(file)
	if ino, ok := g.word(inode, "inode.i_ino"); ok {
		w.Detail = fmt.Sprintf("inode %d", ino)
	}
	g.lockHolders(w, found, posix)
	return true
}

// asksFor says whether the request of a process for a file is among those that
// wait for a lock, or for another that waits for it.
func (g *Guest) asksFor(lock, file uint64, tgid, depth int, left *int) bool {
	found := false
	g.each(lock+g.l.off("lock.requests"), g.l.off("lock.member"), maxFileLocks, func(r uint64) bool {
		if *left--; *left < 0 {
			return false
		}
		pid, ok1 := g.word(r, "lock.pid")
		f, ok2 := g.word(r, "lock.file")
		const ofd = -1 // a lock of the open file has no process
		if ok1 && ok2 && f == file && (int(int32(pid)) == tgid || int32(pid) == ofd) {
			found = true
		} else if depth > 0 {
			found = g.asksFor(r, file, tgid, depth-1, left)
		}
		return !found
	})
	return found
}

// lockHolders says who holds a lock: who took it, and, where that one has gone
// or the lock is the open file's, who has the file open.
func (g *Guest) lockHolders(w *model.Wait, lock uint64, posix bool) {
	pid, ok := g.word(lock, "lock.pid")
	if !ok {
		return
	}
	taker := int(int32(pid))
	file, _ := g.word(lock, "lock.file")
	have := g.open().files[file]
	if t := g.byPID[taker]; t != nil && (posix || slices.ContainsFunc(have, func(o opened) bool { return o.t.TGID == taker })) {
		w.Hold(holder(t, "holds it"))
		return
	}
	for _, o := range have {
		w.Hold(holder(o.t, fmt.Sprintf("has the file that holds it open (fd %d)", o.fd)))
	}
	if len(have) == 0 && taker > 0 {
		w.Hold(model.Holder{PID: taker, Role: "took it"})
	}
}
