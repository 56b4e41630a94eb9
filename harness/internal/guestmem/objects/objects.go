package objects

import (
	"strings"

	"github.com/unwedge/unwedge/harness/internal/guestmem/tasks"
	"github.com/unwedge/unwedge/harness/internal/model"
)

// nearTop is how many frames from the top are looked at for what a task waits in.
const nearTop = 12

// way is one way of waiting, known by the functions of the stack, by their
// beginnings.
type way struct {
	fns  string
	find func(s *sleeper) bool
}

// ways are tried in order: what says more comes first. It is a function, so that
// no variable refers to itself.
func ways() []way {
	return []way{
		{"futex_wait __futex_wait futex_lock_pi futex_do_wait do_futex", (*sleeper).futex},
		{"flock_lock_inode_wait locks_lock_inode_wait posix_lock_inode_wait fcntl_setlk do_lock_file_wait __do_sys_flock", (*sleeper).fileLock},
		{"pipe_read anon_pipe_read pipe_write anon_pipe_write pipe_wait", (*sleeper).pipe},
		{"wait_for_partner fifo_open", (*sleeper).fifo},
		{"folio_wait_bit wait_on_page_bit __lock_page __folio_lock folio_lock", (*sleeper).page},
		{"__wait_on_buffer bit_wait_io", (*sleeper).buffer},
		{"wait_for_completion __wait_for_common wait_for_common submit_bio_wait blk_wait_io", (*sleeper).completion},
		{"do_wait __do_wait kernel_wait4", (*sleeper).child},
		{"ep_poll do_epoll_wait", (*sleeper).epoll},
		{"do_poll do_sys_poll", (*sleeper).poll},
		{"do_select core_sys_select", (*sleeper).selects},
		{"unix_stream_ unix_dgram_ unix_accept inet_csk_accept skb_wait_for_more __skb_wait_for_more sk_wait_data sock_alloc_send sk_stream_wait netlink_recvmsg unix_wait_for_peer", (*sleeper).socket},
	}
}

// sleeper is one task, and what is known of it.
type sleeper struct {
	*Guest
	t      *tasks.Task
	frames []model.Frame
	call   *model.Syscall // nil: in none
	stack  []byte
	qs     []queued
	w      model.Wait
}

// Of says what a sleeping task waits for, given its kernel stack and its system
// call (nil for none). ok is false where nothing is known for certain.
func (g *Guest) Of(t *tasks.Task, frames []model.Frame, call *model.Syscall) (w model.Wait, ok bool) {
	stack := g.stack(t)
	if stack == nil || t.State != "S" && t.State != "D" {
		return w, false
	}
	if call != nil && (call.Compat || len(call.Args) == 0) {
		call = nil
	}
	s := &sleeper{Guest: g, t: t, frames: frames, call: call, stack: stack, qs: g.queues(t, stack)}
	for _, way := range ways() {
		if !s.in(way.fns) {
			continue
		}
		s.w = model.Wait{PID: t.PID, Comm: t.Comm}
		if way.find(s) {
			return s.w, true
		}
		break
	}
	for _, q := range s.qs {
		if name := g.Name(q.head); name != "" { // a queue without a name says nothing
			return model.Wait{PID: t.PID, Comm: t.Comm, Kind: "wait queue", Object: name, Addr: q.head}, true
		}
	}
	return w, false
}

// in says whether one of the functions is near the top of the stack.
func (s *sleeper) in(fns string) bool {
	for _, f := range s.frames[:min(len(s.frames), nearTop)] {
		for fn := range strings.FieldsSeq(fns) {
			if f.Reliable && strings.HasPrefix(f.Base(), fn) {
				return true
			}
		}
	}
	return false
}

// calls returns the first argument of the system call, where it is one of these.
func (s *sleeper) calls(names ...string) (arg uint64, ok bool) {
	if s.call == nil {
		return 0, false
	}
	for _, n := range names {
		if s.call.Name == n {
			return uint64(uint32(s.call.Args[0])), true // a descriptor is an int
		}
	}
	return 0, false
}

func (s *sleeper) futex() bool {
	_, ok := s.calls("futex", "futex_wait")
	return ok && s.Guest.futex(&s.w, s.t, s.call)
}

func (s *sleeper) fileLock() bool {
	if fd, ok := s.calls("flock"); ok {
		return s.Guest.fileLock(&s.w, s.t, fd, false)
	}
	fd, ok := s.calls("fcntl")
	return ok && s.Guest.fileLock(&s.w, s.t, fd, true)
}

func (s *sleeper) pipe() bool {
	if fd, ok := s.calls("read", "readv", "preadv2", "splice"); ok {
		return s.Guest.pipe(&s.w, s.t, fd, s.qs, false)
	}
	fd, ok := s.calls("write", "writev", "pwritev2")
	return ok && s.Guest.pipe(&s.w, s.t, fd, s.qs, true)
}

// fifo names the FIFO that is being opened by the argument of the call: it is
// not among the open files yet.
func (s *sleeper) fifo() bool {
	at := 0
	if _, ok := s.calls("openat", "openat2"); ok {
		at = 1
	} else if _, ok := s.calls("open"); !ok {
		return false
	}
	if len(s.call.Args) <= at {
		return false
	}
	path, ok := s.userText(s.t, s.call.Args[at])
	s.w.Kind, s.w.Object, s.w.Detail = "FIFO", path, "until the other end is opened"
	return ok
}

func (s *sleeper) page() bool { return s.Guest.page(&s.w, s.qs) }

func (s *sleeper) buffer() bool { return s.Guest.buffer(&s.w, s.qs) }

func (s *sleeper) completion() bool {
	c, ok := s.Guest.completion(s.t, s.stack)
	if !ok {
		return false
	}
	if s.in("submit_bio_wait blk_wait_io blkdev_issue") && s.bio(&s.w, s.t, s.stack, c) {
		return true
	}
	s.complete(&s.w, c)
	return true
}

// child lists the children that wait4 and waitid may wait for.
func (s *sleeper) child() bool {
	s.w.Kind = "child"
	pid := 0
	if _, ok := s.calls("wait4"); ok {
		pid = int(int32(s.call.Args[0]))
	} else if kind, ok := s.calls("waitid"); ok && kind == 1 && len(s.call.Args) > 1 { // P_PID
		pid = int(int32(s.call.Args[1]))
	}
	if pid > 0 {
		if c := s.called(s.t, pid); c != nil {
			pid = c.PID
		}
		s.w.Object = "PID " + decimal(pid)
	}
	n := 0
	for _, c := range s.childrenOf(s.t.TGID) {
		if pid > 0 && c.PID != pid {
			continue
		}
		n++
		s.w.Hold(holder(c, "is its child"))
	}
	if n == 0 {
		s.w.Detail = "it has no such child"
	}
	return true
}

func (s *sleeper) epoll() bool {
	fd, ok := s.calls("epoll_wait", "epoll_pwait", "epoll_pwait2")
	return ok && s.Guest.epoll(&s.w, s.t, fd, s.qs)
}

func (s *sleeper) poll() bool {
	_, ok := s.calls("poll", "ppoll")
	return ok && s.Guest.poll(&s.w, s.t, s.call)
}

func (s *sleeper) selects() bool {
	_, ok := s.calls("select", "pselect6")
	return ok && s.Guest.selects(&s.w, s.t, s.call)
}

func (s *sleeper) socket() bool {
	fd, ok := s.calls("read", "write", "readv", "writev", "recvfrom", "recvmsg", "recvmmsg", "sendto", "sendmsg", "sendmmsg", "connect", "accept", "accept4")
	return ok && s.Guest.socket(&s.w, s.t, fd)
}
