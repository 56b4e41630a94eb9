// Package objects finds what a sleeping task of a guest waits for, and who could
// end that: completions, wait queues, futexes, file locks, pipes, sockets,
// children, block devices, and what is polled. It reads the task's system call,
// the entry that the task has put on its own stack, and what both lead to.
//
// Every result is verified: an entry names its task and its neighbours in the
// list name it, a lock's list of waiters has the task's, a futex's owner is a
// task of the process. What cannot be verified is left out.
package objects

import (
	"strings"

	"github.com/unwedge/unwedge/harness/internal/guestmem/kimage"
	"github.com/unwedge/unwedge/harness/internal/guestmem/user/procmem"
)

type field = kimage.Field

// Layout is how one kernel lays out what is read here. Made once per image; it
// may be used by many goroutines. Fields that a kernel lacks are missing,
// and what needs them is not found.
type Layout struct {
	fields map[string]field
	user   *procmem.Layout // nil: user memory and paths cannot be read
}

// wanted are the fields that are read, as TYPE.FIELD. NAME=TYPE.FIELD is one
// that another kernel has elsewhere: the first that is there counts.
var wanted = strings.Fields(`
	task_struct.files task_struct.vfork_done
	files_struct.fdt fdtable.max_fds fdtable.fd
	file.f_inode file.f_mode file.private_data
	inode.i_mode inode.i_ino inode.i_rdev inode.i_pipe inode.i_flctx inode.i_sb
	super_block.s_id address_space.host
	pipe_inode_info.rd_wait pipe_inode_info.wr_wait
	pipe_inode_info.readers pipe_inode_info.writers
	file_lock_context.flc_flock file_lock_context.flc_posix
	lock.list=file_lock_core.flc_list lock.list=file_lock.fl_list
	lock.requests=file_lock_core.flc_blocked_requests lock.requests=file_lock.fl_blocked_requests
	lock.member=file_lock_core.flc_blocked_member lock.member=file_lock.fl_blocked_member
	lock.pid=file_lock_core.flc_pid lock.pid=file_lock.fl_pid
	lock.file=file_lock_core.flc_file lock.file=file_lock.fl_file
	lock.blocker=file_lock_core.flc_blocker lock.blocker=file_lock.fl_blocker
	swait_queue.task swait_queue.task_list swait_queue_head.task_list
	completion.done completion.wait
	wait_queue_entry.private wait_queue_entry.func wait_queue_entry.entry wait_queue_head.head
	wait_page_queue.folio=wait_page_queue.folio wait_page_queue.folio=wait_page_queue.page
	wait_page_queue.wait
	page.mapping=folio.mapping page.mapping=page.mapping
	wait_bit_queue_entry.key wait_bit_queue_entry.wq_entry wait_bit_key.flags
	buffer_head.b_state buffer_head.b_bdev buffer_head.b_blocknr
	bio.bi_private bio.bi_bdev=bio.bi_bdev bio.bi_disk
	block_device.bd_disk block_device.bd_dev gendisk.disk_name
	bdev_inode.bdev bdev_inode.vfs_inode
	wq_barrier.work wq_barrier.done work_struct.entry worker.scheduled
	eventpoll.rbr eventpoll.wq rb_root_cached.rb_root rb_root.rb_node
	rb_node.rb_left rb_node.rb_right epitem.rbn epitem.event
	epitem.file=epitem.ffd.file epitem.fd=epitem.ffd.fd
	socket.sk sock.sk_family=sock.__sk_common.skc_family sock.sk_socket sock.sk_peer_pid
	unix_sock.peer socket.file
	task_struct.thread_pid pid.level pid.numbers upid.nr upid.ns`)

// NewLayout reads the image's types.
func NewLayout(img *kimage.Image) *Layout {
	l := &Layout{fields: map[string]field{}}
	for _, w := range wanted {
		name, path, ok := strings.Cut(w, "=")
		if !ok {
			path = name
		}
		if _, have := l.fields[name]; have {
			continue
		}
		parts := strings.Split(path, ".")
		if f, err := img.Types.Field(parts[0], parts[1:]...); err == nil {
			l.fields[name] = f
		}
	}
	l.user, _ = procmem.NewLayout(img) // without it there are no paths
	return l
}

// has says whether the kernel has all of the fields.
func (l *Layout) has(names ...string) bool {
	for _, n := range names {
		if _, ok := l.fields[n]; !ok {
			return false
		}
	}
	return true
}

// off is the offset of a field that has has seen, or 0.
func (l *Layout) off(name string) uint64 { return l.fields[name].Off }
