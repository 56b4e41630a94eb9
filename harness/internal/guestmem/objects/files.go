package objects

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/guestmem/tasks"
	"github.com/unwedge/unwedge/harness/internal/model"
)

// The bounds of what is read of open files.
const (
	maxFDs   = 1 << 10 // of one process
	maxFiles = 1 << 15 // of all
)

// fd returns the struct file behind a file descriptor of a task.
func (g *Guest) fd(t *tasks.Task, n uint64) (uint64, bool) {
	array, max, ok := g.fds(t)
	if !ok || n >= max {
		return 0, false
	}
	file, ok := g.raw(array + 8*n)
	return file, ok && file != 0
}

// fds is where the descriptors of a task are, and how many.
func (g *Guest) fds(t *tasks.Task) (array, max uint64, ok bool) {
	files, ok := g.pointer(t.Addr, "task_struct.files")
	if !ok {
		return 0, 0, false
	}
	table, ok := g.pointer(files, "files_struct.fdt")
	if !ok {
		return 0, 0, false
	}
	max, ok1 := g.word(table, "fdtable.max_fds")
	array, ok2 := g.pointer(table, "fdtable.fd")
	return array, max, ok1 && ok2
}

// opened is one descriptor of one process.
type opened struct {
	t    *tasks.Task
	fd   int
	file uint64
}

// holders says who has a file open: by the struct file, and by the inode.
type holders struct{ files, inodes map[uint64][]opened }

// open reads all descriptors of all processes, once.
func (g *Guest) open() *holders {
	if g.holders != nil {
		return g.holders
	}
	h := &holders{files: map[uint64][]opened{}, inodes: map[uint64][]opened{}}
	g.holders = h
	seen, left := map[uint64]bool{}, maxFiles
	for i := range g.list.Tasks {
		t := &g.list.Tasks[i]
		array, max, ok := g.fds(t)
		if !ok || seen[array] {
			continue
		}
		seen[array] = true
		b := make([]byte, 8*min(max, maxFDs))
		if g.k.Space.Read(array, b) != nil {
			continue
		}
		for n := 0; 8*n < len(b) && left > 0; n++ {
			file := binary.LittleEndian.Uint64(b[8*n:])
			inode, ok := g.pointer(file, "file.f_inode")
			if !ok {
				continue
			}
			left--
			o := opened{t: t, fd: n, file: file}
			h.files[file] = append(h.files[file], o)
			h.inodes[inode] = append(h.inodes[inode], o)
		}
	}
	return h
}

// Opens names a task that has a file open whose path begins so, "" for none.
func (g *Guest) Opens(path string) string {
	if g.user == nil {
		return ""
	}
	for file, by := range g.open().files {
		inode, _ := g.pointer(file, "file.f_inode")
		if mode, ok := g.word(inode, "inode.i_mode"); ok && mode&sIFMT == sIFCHR && strings.HasPrefix(g.user.Path(file), path) {
			return by[0].t.Comm
		}
	}
	return ""
}

// The kinds of inodes (include/uapi/linux/stat.h).
const (
	sIFMT   = 0o170000
	sIFSOCK = 0o140000
	sIFBLK  = 0o060000
	sIFCHR  = 0o020000
	sIFIFO  = 0o010000
)

// describe says what an open file is, as /proc/PID/fd does; ok is false where it
// cannot be read.
func (g *Guest) describe(file uint64) (string, bool) {
	inode, ok := g.pointer(file, "file.f_inode")
	if !ok {
		return "", false
	}
	mode, ok1 := g.word(inode, "inode.i_mode")
	ino, ok2 := g.word(inode, "inode.i_ino")
	if !ok1 || !ok2 {
		return "", false
	}
	path := ""
	if g.user != nil {
		path = g.user.Path(file)
	}
	switch {
	case mode&sIFMT == sIFSOCK:
		return fmt.Sprintf("socket:[%d]", ino), true
	case mode&sIFMT == sIFIFO && (path == "" || path[0] != '/'):
		return fmt.Sprintf("pipe:[%d]", ino), true
	case path == "":
		return fmt.Sprintf("inode %d", ino), true
	case path[0] == '[':
		return "anon_inode:" + path, true
	}
	return path, true
}

// What f_mode says (include/linux/fs.h).
const (
	modeRead  = 1
	modeWrite = 2
)

// pipe says of a task in read or write which pipe that is of, and who is at its
// other end.
func (g *Guest) pipe(w *model.Wait, t *tasks.Task, fd uint64, qs []queued, writes bool) bool {
	file, ok := g.fd(t, fd)
	if !ok {
		return false
	}
	inode, ok1 := g.pointer(file, "file.f_inode")
	pipe, ok2 := g.pointer(inode, "inode.i_pipe")
	private, ok3 := g.pointer(file, "file.private_data")
	if !ok1 || !ok2 || !ok3 || pipe != private {
		return false
	}
	queue, end, other, can, count := "pipe_inode_info.rd_wait", "reads", uint64(modeWrite), "can write", "pipe_inode_info.writers"
	if writes {
		queue, end, other, can, count = "pipe_inode_info.wr_wait", "writes", modeRead, "can read", "pipe_inode_info.readers"
	}
	if !g.l.has(queue) || !on(qs, pipe+g.l.off(queue)) {
		return false
	}
	w.Kind, w.Addr = "pipe", pipe
	w.Object, _ = g.describe(file)
	w.Detail = end
	if !g.ends(w, inode, other, can) {
		// It may be on its way in a message, or a descriptor beyond those
		// that are looked at: the pipe itself keeps count.
		none := "; who has the other end was not found"
		if n, ok := g.word(pipe, count); ok && n == 0 {
			none = "; nobody is at the other end"
		}
		w.Detail += none
	}
	return true
}

// ends adds who has an inode open in a mode; false where nobody was found.
func (g *Guest) ends(w *model.Wait, inode, mode uint64, role string) bool {
	seen := map[int]bool{}
	for _, o := range g.open().inodes[inode] {
		if m, ok := g.word(o.file, "file.f_mode"); ok && m&mode != 0 && !seen[o.t.TGID] {
			seen[o.t.TGID] = true
			w.Hold(holder(o.t, fmt.Sprintf("%s (fd %d)", role, o.fd)))
		}
	}
	return len(seen) > 0
}

// socket says which socket a task is in, and who is at the other end of a
// connected socket of this machine.
func (g *Guest) socket(w *model.Wait, t *tasks.Task, fd uint64) bool {
	file, ok := g.fd(t, fd)
	if !ok {
		return false
	}
	inode, _ := g.pointer(file, "file.f_inode")
	if mode, ok := g.word(inode, "inode.i_mode"); !ok || mode&sIFMT != sIFSOCK {
		return false
	}
	socket, ok := g.pointer(file, "file.private_data")
	if !ok {
		return false
	}
	if back, ok := g.pointer(socket, "socket.file"); !ok || back != file {
		return false
	}
	w.Kind, w.Addr = "socket", socket
	w.Object, _ = g.describe(file)
	sk, ok := g.pointer(socket, "socket.sk")
	family, ok2 := g.word(sk, "sock.sk_family")
	const unix = 1
	if !ok || !ok2 || family != unix {
		return true
	}
	w.Detail = "unix"
	peer, ok := g.pointer(sk, "unix_sock.peer")
	if !ok {
		return true
	}
	if back, ok := g.pointer(peer, "unix_sock.peer"); !ok || back != sk {
		return true
	}
	other, ok := g.pointer(peer, "sock.sk_socket")
	if !ok {
		w.Detail += "; nobody is at the other end"
		return true
	}
	far, ok := g.pointer(other, "socket.file")
	if !ok {
		return true
	}
	for _, o := range g.open().files[far] {
		w.Hold(holder(o.t, fmt.Sprintf("has the other end (fd %d)", o.fd)))
	}
	return true
}
