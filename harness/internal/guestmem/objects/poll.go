package objects

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/guestmem/tasks"
	"github.com/unwedge/unwedge/harness/internal/model"
)

// maxPolled bounds the descriptors of one poll that are looked at.
const maxPolled = 1 << 10

// watch adds a descriptor to what is watched.
func (g *Guest) watch(w *model.Wait, fd uint64, file uint64, events string) {
	what, ok := g.describe(file)
	if !ok {
		what = "a file that cannot be read"
	}
	if len(w.Watches) == model.MaxWatches {
		w.More++
		return
	}
	w.Watches = append(w.Watches, strings.TrimSpace(fmt.Sprintf("fd %d %s %s", fd, what, events)))
}

// events names what is waited for (include/uapi/asm-generic/poll.h).
func events(mask uint64) string {
	var out []string
	for _, e := range []struct {
		bit  uint64
		name string
	}{{1, "in"}, {2, "pri"}, {4, "out"}} {
		if mask&e.bit != 0 {
			out = append(out, e.name)
		}
	}
	if len(out) == 0 {
		return ""
	}
	return "(" + strings.Join(out, "|") + ")"
}

// poll reads the struct pollfd array of poll and ppoll.
func (g *Guest) poll(w *model.Wait, t *tasks.Task, call *model.Syscall) bool {
	if len(call.Args) < 2 {
		return false
	}
	w.Kind = "poll"
	n := call.Args[1]
	if n == 0 {
		w.Detail = "no file"
		return true
	}
	b, ok := g.userBytes(t, call.Args[0], int(8*min(n, maxPolled)))
	if !ok {
		return false
	}
	for ; len(b) >= 8; b = b[8:] {
		fd := int32(binary.LittleEndian.Uint32(b))
		if fd < 0 {
			continue // it is to be ignored
		}
		if file, ok := g.fd(t, uint64(fd)); ok {
			g.watch(w, uint64(fd), file, events(uint64(binary.LittleEndian.Uint16(b[4:]))))
		}
	}
	return true
}

// selects reads the sets of select and pselect6.
func (g *Guest) selects(w *model.Wait, t *tasks.Task, call *model.Syscall) bool {
	if len(call.Args) < 4 {
		return false
	}
	w.Kind = "select"
	n := int(min(call.Args[0], maxPolled))
	for i, name := range []string{"(in)", "(out)", "(pri)"} {
		at := call.Args[1+i]
		if at == 0 || n == 0 {
			continue
		}
		b, ok := g.userBytes(t, at, (n+7)/8)
		if !ok {
			return false
		}
		for fd := range n {
			if b[fd/8]>>(fd%8)&1 == 0 {
				continue
			}
			if file, ok := g.fd(t, uint64(fd)); ok {
				g.watch(w, uint64(fd), file, name)
			}
		}
	}
	return true
}

// epoll reads the tree of an epoll's files (fs/eventpoll.c).
func (g *Guest) epoll(w *model.Wait, t *tasks.Task, fd uint64, qs []queued) bool {
	l := g.l
	if !l.has("eventpoll.rbr", "eventpoll.wq", "rb_root.rb_node", "rb_node.rb_left", "rb_node.rb_right", "epitem.rbn", "epitem.file", "epitem.fd") {
		return false
	}
	file, ok := g.fd(t, fd)
	if !ok {
		return false
	}
	ep, ok := g.pointer(file, "file.private_data")
	if !ok || !on(qs, ep+l.off("eventpoll.wq")) {
		return false
	}
	w.Kind, w.Addr = "epoll", ep
	w.Object = fmt.Sprintf("fd %d", fd)
	root, _ := g.pointer(ep+l.off("eventpoll.rbr")+l.off("rb_root_cached.rb_root"), "rb_root.rb_node")
	todo, seen := []uint64{root}, map[uint64]bool{}
	for len(todo) > 0 && len(seen) < maxPolled {
		node := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if node == 0 || seen[node] {
			continue
		}
		seen[node] = true
		right, ok1 := g.word(node, "rb_node.rb_right")
		left, ok2 := g.word(node, "rb_node.rb_left")
		if !ok1 || !ok2 {
			continue
		}
		todo = append(todo, right, left)
		item := node - l.off("epitem.rbn")
		f, ok1 := g.pointer(item, "epitem.file")
		n, ok2 := g.word(item, "epitem.fd")
		if ok1 && ok2 {
			mask, _ := g.raw(item + l.off("epitem.event"))
			g.watch(w, n, f, events(mask))
		}
	}
	return true
}
