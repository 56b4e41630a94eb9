package guestmemtest

// waitStructs are the types of what tasks wait for.
var waitStructs = map[string]layout{
	"files_struct":         {{"pad", 8}, {"fdt", 8}},
	"fdtable":              {{"max_fds", 4}, {"pad", 4}, {"fd", 8}},
	"path":                 {{"mnt", 8}, {"dentry", 8}},
	"file":                 {{"f_path", 16}, {"f_inode", 8}, {"f_mode", 4}, {"pad", 4}, {"private_data", 8}, {"f_mapping", 8}},
	"inode":                {{"i_mode", 2}, {"pad", 6}, {"i_ino", 8}, {"i_pipe", 8}, {"i_flctx", 8}, {"i_sb", 8}, {"i_size", 8}, {"i_rdev", 4}, {"pad2", 4}},
	"super_block":          {{"s_id", 32}},
	"address_space":        {{"host", 8}},
	"dentry":               {{"d_parent", 8}, {"d_name", 16}},
	"qstr":                 {{"hash", 8}, {"name", 8}},
	"vm_area_struct":       {{"vm_start", 8}, {"vm_end", 8}, {"vm_flags", 8}, {"vm_pgoff", 8}, {"vm_file", 8}, {"vm_next", 8}},
	"pipe_inode_info":      {{"rd_wait", 24}, {"wr_wait", 24}, {"readers", 4}, {"writers", 4}},
	"pid":                  {{"count", 4}, {"level", 4}, {"numbers", 16}},
	"upid":                 {{"nr", 4}, {"pad", 4}, {"ns", 8}},
	"file_lock_context":    {{"flc_flock", 16}, {"flc_posix", 16}},
	"file_lock":            {{"fl_blocker", 8}, {"fl_list", 16}, {"fl_blocked_requests", 16}, {"fl_blocked_member", 16}, {"fl_pid", 4}, {"pad", 4}, {"fl_file", 8}},
	"swait_queue":          {{"task", 8}, {"task_list", 16}},
	"swait_queue_head":     {{"lock", 8}, {"task_list", 16}},
	"completion":           {{"done", 4}, {"pad", 4}, {"wait", 24}},
	"wait_queue_entry":     {{"flags", 8}, {"private", 8}, {"func", 8}, {"entry", 16}},
	"wait_queue_head":      {{"lock", 8}, {"head", 16}},
	"wait_page_queue":      {{"folio", 8}, {"bit_nr", 8}, {"wait", 40}},
	"folio":                {{"flags", 8}, {"mapping", 8}},
	"wait_bit_key":         {{"flags", 8}, {"bit_nr", 8}},
	"wait_bit_queue_entry": {{"key", 16}, {"wq_entry", 40}},
	"buffer_head":          {{"b_state", 8}, {"b_blocknr", 8}, {"b_bdev", 8}},
	"bio":                  {{"bi_bdev", 8}, {"bi_private", 8}},
	"block_device":         {{"bd_dev", 4}, {"pad", 4}, {"bd_disk", 8}},
	"gendisk":              {{"disk_name", 32}},
	"bdev_inode":           {{"bdev", 16}, {"vfs_inode", 64}},
	"wq_barrier":           {{"work", 24}, {"done", 32}},
	"work_struct":          {{"data", 8}, {"entry", 16}},
	"worker":               {{"scheduled", 16}, {"current_func", 8}},
	"kthread":              {{"data", 8}},
	"rb_node":              {{"color", 8}, {"rb_right", 8}, {"rb_left", 8}},
	"rb_root":              {{"rb_node", 8}},
	"rb_root_cached":       {{"rb_root", 8}},
	"eventpoll":            {{"wq", 24}, {"rbr", 8}},
	"epoll_key":            {{"file", 8}, {"fd", 4}, {"pad", 4}},
	"epitem":               {{"rbn", 24}, {"ffd", 16}, {"event", 16}},
	"socket":               {{"file", 8}, {"sk", 8}},
	"sock_common":          {{"skc_family", 2}, {"pad", 6}},
	"sock":                 {{"__sk_common", 8}, {"sk_socket", 8}},
	"unix_sock":            {{"sk", 16}, {"peer", 8}},
}

var waitNested = map[string]string{
	"file.f_path": "path", "dentry.d_name": "qstr", "completion.wait": "swait_queue_head",
	"wait_page_queue.wait": "wait_queue_entry", "wait_bit_queue_entry.key": "wait_bit_key", "wait_bit_queue_entry.wq_entry": "wait_queue_entry",
	"wq_barrier.work": "work_struct", "wq_barrier.done": "completion", "eventpoll.wq": "wait_queue_head", "eventpoll.rbr": "rb_root_cached",
	"rb_root_cached.rb_root": "rb_root", "epitem.rbn": "rb_node", "epitem.ffd": "epoll_key", "sock.__sk_common": "sock_common",
	"pipe_inode_info.rd_wait": "wait_queue_head", "pipe_inode_info.wr_wait": "wait_queue_head", "unix_sock.sk": "sock",
}

// Where what PID 1 waits with lies in the heap and on its stack.
const (
	FilesInit, filesKth  = 0x80000, 0x80400
	fdInit, fdKth        = 0x80100, 0x80500
	File, FarFile        = 0x81000, 0x81100
	Inode, FarInode      = 0x81200, 0x81300
	Object               = 0x82000 // a pipe, a lock context, an eventpoll, a socket, a page
	Second               = 0x82200 // the lock that is held, the other socket, a mapping
	Third                = 0x82400
	names                = 0x83000
	mm                   = 0x70000
	userTop, userPDP     = 0x90000, 0x91000
	UserPage, UserAddr   = 0x100000, 0x500000
	OnStack              = StackInit + 0x3800 // of the entry
	regsInit             = StackInit + stackSize - 168
	nrRead, nrPoll       = 0, 7
	nrSelect, nrWait4    = 23, 61
	nrFcntl, nrFlock     = 72, 73
	nrFutex, nrEpollWait = 202, 232
	nrOpenat             = 257
)

// InNamespace puts a task into the PID namespace of that address, one below the
// first, where it has a number of its own.
func (g Guest) InNamespace(task, pid uint64, nr uint32, ns uint64) {
	g.put("task_struct", task, "thread_pid", Direct+pid)
	g.Put32(pid+Offset("pid", "level"), 1)
	at := pid + Offset("pid", "numbers") + 16
	g.Put32(at, uint64(nr))
	g.Put(at+8, Direct+ns)
}

// Waits names what Waiting knows.
func Waits() []string {
	return []string{
		"pipe", "flock", "POSIX lock", "futex", "glibc mutex", "child", "completion", "work item", "vfork",
		"wait queue", "page", "page of a device", "buffer", "bio", "epoll", "poll", "select", "socket", "FIFO",
	}
}

// Waiting is a booted guest whose PID 1 waits for something that kthreadd (PID 2)
// holds or is at the other end of. A name that is none of Waits gives PID 1 in
// getrandom.
func Waiting(what string) Guest {
	g := Booted()
	g.process()
	switch what {
	case "pipe":
		g.call(nrRead, "pipe_read", 3)
		g.mode(0o010600)
		g.put("inode", Inode, "i_pipe", Direct+Object)
		g.put("file", File, "private_data", Direct+Object)
		g.queue(Object+Offset("pipe_inode_info", "rd_wait"), OnStack, "autoremove_wake_function")
	case "flock":
		g.call(nrFlock, "flock_lock_inode_wait", 3, 2)
		g.lock("flc_flock")
	case "POSIX lock":
		g.call(nrFcntl, "fcntl_setlk", 3, 7)
		g.lock("flc_posix")
	case "futex":
		g.call(nrFutex, "futex_wait", UserAddr, 6) // FUTEX_LOCK_PI
		g.Put32(UserPage, 2)                       // kthreadd, and nobody waits
	case "glibc mutex":
		g.call(nrFutex, "futex_wait", UserAddr, 128, 2)
		g.Put32(UserPage, 2)
		g.Put32(UserPage+8, 3)
	case "child":
		g.call(nrWait4, "do_wait", 1<<32-1)
		g.put("task_struct", TaskKthreadd, "real_parent", Direct+TaskInit)
	case "completion", "work item", "vfork":
		g.completion(what)
	case "wait queue":
		g.call(nrRead, "wait_for_something", 3)
		g.queue(PhysBase+GlobalQueue, OnStack, "autoremove_wake_function")
	case "page", "page of a device", "buffer", "bio":
		g.io(what)
	case "epoll":
		g.epoll()
	case "poll":
		g.call(nrPoll, "do_poll", UserAddr, 1)
		g.Put32(UserPage, 3)
		g.Put32(UserPage+4, 1)
	case "select":
		g.call(nrSelect, "do_select", 4, UserAddr)
		g.Put(UserPage, 1<<3)
	case "socket":
		g.socket()
	case "FIFO":
		g.call(nrOpenat, "fifo_open", 1<<32-100, UserAddr)
		copy(g[UserPage:], "/run/fifo\x00")
	}
	return g
}

func (g Guest) put(typ string, at uint64, field string, v uint64) { g.Put(at+Offset(typ, field), v) }

// call puts PID 1 to sleep in a function of a system call.
func (g Guest) call(nr uint64, fn string, args ...uint64) {
	g.chain(TaskInit, StackInit, Direct+regsInit|1, "__schedule", "schedule", fn, "__x64_sys_call", "entry_SYSCALL_64_after_hwframe")
	g.Put(regsInit+8*15, nr)
	for i, at := range []uint64{14, 13, 12} { // di, si, dx
		if i < len(args) {
			g.Put(regsInit+8*at, args[i])
		}
	}
}

// process gives PID 1 and kthreadd a file each, which are /lock, and PID 1 a page
// of user memory.
func (g Guest) process() {
	for i, task := range []uint64{TaskInit, TaskKthreadd} {
		files, fds, file := uint64(FilesInit+0x400*i), uint64(fdInit+0x400*i), uint64(File+0x100*i)
		g.put("task_struct", task, "files", Direct+files)
		g.put("files_struct", files, "fdt", Direct+files+0x40)
		g.Put32(files+0x40, 4)
		g.put("fdtable", files+0x40, "fd", Direct+fds)
		g.Put(fds+8*3, Direct+file)
		g.put("file", file, "f_inode", Direct+Inode)
		g.Put32(file+Offset("file", "f_mode"), uint64(1+i)) // PID 1 reads, kthreadd writes
		g.Put(file+8, Direct+names)                         // the dentry
	}
	g.mode(0o100600)
	g.put("inode", Inode, "i_ino", 42)
	g.put("dentry", names, "d_parent", Direct+names+0x80)
	g.Put(names+16, Direct+names+0x200)
	g.put("dentry", names+0x80, "d_parent", Direct+names+0x80)
	copy(g[names+0x200:], "lock\x00")
	g.put("mm_struct", mm, "pgd", Direct+userTop)
	g.Put(userTop, userPDP|0x67)
	g.Put(userPDP, (userPDP+0x1000)|0x67)
	g.Put(userPDP+0x1000+8*(UserAddr>>21), (userPDP+0x2000)|0x67)
	g.Put(userPDP+0x2000+8*(UserAddr>>12&0x1ff), UserPage|0x67)
}

// mode says what the file is. A pipe has no path.
func (g Guest) mode(m uint16) {
	le.PutUint16(g[Inode:], m)
	if m>>12 == 1 {
		g.Put(File+8, Direct+names+0x80)
		g.Put(FarFile+8, Direct+names+0x80)
	}
}

// queue puts an entry for PID 1 on a wait queue.
func (g Guest) queue(head, entry uint64, fn string) {
	g.put("wait_queue_entry", entry, "private", Direct+TaskInit)
	g.put("wait_queue_entry", entry, "func", Func(fn)-0x10)
	g.list(virt(head)+Offset("wait_queue_head", "head"), Direct+entry+Offset("wait_queue_entry", "entry"))
}

// virt is the virtual address of a physical one: the image's own, or the direct
// map's.
func virt(phys uint64) uint64 {
	if phys >= PhysBase && phys < PhysBase+ImageSize {
		return phys - PhysBase + Link + Kaslr
	}
	return phys + Direct
}

// lock makes kthreadd hold a lock of the file, and PID 1 ask for it.
func (g Guest) lock(list string) {
	g.put("inode", Inode, "i_flctx", Direct+Object)
	at := func(lock uint64, field string) uint64 { return Direct + lock + Offset("file_lock", field) }
	other := map[string]string{"flc_flock": "flc_posix", "flc_posix": "flc_flock"}[list]
	g.list(Direct+Object+Offset("file_lock_context", list), at(Second, "fl_list"))
	g.list(Direct + Object + Offset("file_lock_context", other))
	g.list(at(Second, "fl_blocked_requests"), at(Third, "fl_blocked_member"))
	g.list(at(Third, "fl_blocked_requests"))
	for lock, pid := range map[uint64]uint64{Second: 2, Third: 1} {
		g.Put32(lock+Offset("file_lock", "fl_pid"), pid)
	}
	g.put("file_lock", Second, "fl_file", Direct+FarFile)
	g.put("file_lock", Third, "fl_file", Direct+File)
}

// completion makes PID 1 wait for one: on the heap, of a work item that kthreadd
// does, or of a child that has not started a program.
func (g Guest) completion(what string) {
	g.call(nrRead, "wait_for_completion", 3)
	c := uint64(Object)
	switch what {
	case "work item":
		const barrier = StackInit + 0x3900
		c = barrier + Offset("wq_barrier", "done")
		g.Put32(TaskKthreadd+Offset("task_struct", "flags"), 0x200020)
		g.put("task_struct", TaskKthreadd, "worker_private", Direct+Third)
		g.put("kthread", Third, "data", Direct+Second)
		g.list(Direct+Second, Direct+barrier+8)
	case "vfork":
		g.put("task_struct", TaskKthreadd, "vfork_done", Direct+c)
		g.Put32(TaskKthreadd+Offset("task_struct", "flags"), 0)
	}
	g.put("swait_queue", OnStack, "task", Direct+TaskInit)
	g.list(Direct+c+Offset("completion", "wait")+8, Direct+OnStack+8)
}

// io makes PID 1 wait for a block of vda, by one of three ways.
func (g Guest) io(way string) {
	const bdev, disk = Third, Third + 0x80
	g.Put32(bdev, 254<<20|1)
	g.put("block_device", bdev, "bd_disk", Direct+disk)
	copy(g[disk:], "vda\x00")
	switch way {
	case "page", "page of a device":
		g.call(nrRead, "folio_wait_bit_common", 3)
		g.queue(Second, OnStack+16, "wake_page_function")
		g.Put(OnStack, Direct+Object)
		g.put("folio", Object, "mapping", Direct+Object+0x40)
		g.Put(Object+0x40, Direct+Inode)
		g.put("inode", Inode, "i_sb", Direct+Object+0x80)
		copy(g[Object+0x80:], "vda1\x00")
		if way == "page of a device" {
			g.mode(0o060600)
			g.Put32(Inode-16, 254<<20)
			g.Put(Inode-8, Direct+disk)
		}
	case "buffer":
		g.call(nrRead, "__wait_on_buffer", 3)
		g.queue(Second, OnStack+16, "wake_bit_function")
		g.Put(OnStack, Direct+Object)
		g.put("buffer_head", Object, "b_blocknr", 7)
		g.put("buffer_head", Object, "b_bdev", Direct+bdev)
	case "bio":
		g.completion("")
		g.chain(TaskInit, StackInit, Direct+regsInit|1, "__schedule", "schedule", "wait_for_completion", "submit_bio_wait", "entry_SYSCALL_64_after_hwframe")
		g.Put(OnStack+0x80, Direct+bdev)
		g.Put(OnStack+0x88, Direct+Object)
	}
}

// epoll makes PID 1 wait for an epoll that watches the file, which is a pipe.
func (g Guest) epoll() {
	g.call(nrEpollWait, "ep_poll", 3)
	g.mode(0o010600)
	g.put("file", File, "private_data", Direct+Object)
	g.queue(Object, OnStack, "autoremove_wake_function")
	g.put("eventpoll", Object, "rbr", Direct+Second)
	g.put("epitem", Second, "ffd", Direct+File)
	g.Put32(Second+Offset("epitem", "ffd")+8, 3)
	g.Put32(Second+Offset("epitem", "event"), 5)
}

// socket makes PID 1 read from a unix socket whose other end kthreadd has.
func (g Guest) socket() {
	g.call(nrRead, "unix_stream_read_generic", 3)
	g.mode(0o140600)
	for i, at := range []uint64{Object, Second} {
		file, other := uint64(File+0x100*i), uint64(Second-0x200*i)
		g.put("file", file, "private_data", Direct+at)
		g.Put(at, Direct+file)
		g.Put(at+8, Direct+at+0x40)
		le.PutUint16(g[at+0x40:], 1)
		g.Put(at+0x48, Direct+at)
		g.Put(at+0x50, Direct+other+0x40)
	}
}
