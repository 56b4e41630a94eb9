// SPDX-License-Identifier: GPL-2.0
/* The structures that the kernel's public headers define. Nothing runs of this: only
 * its debug information is read. A structure that this kernel does not have is merely
 * declared. */
#undef MODULE
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/sched/task_stack.h>
#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/buffer_head.h>
#include <linux/completion.h>
#include <linux/dcache.h>
#include <linux/fdtable.h>
#include <linux/fs.h>
#include <linux/hrtimer.h>
#include <linux/mm.h>
#include <linux/mm_types.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/mutex.h>
#include <linux/net.h>
#include <linux/pagemap.h>
#include <linux/pid.h>
#include <linux/pipe_fs_i.h>
#include <linux/rbtree.h>
#include <linux/rwsem.h>
#include <linux/semaphore.h>
#include <linux/swait.h>
#include <linux/timer.h>
#include <linux/version.h>
#include <linux/wait.h>
#include <linux/wait_bit.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>
#include <net/sock.h>
#include <net/af_unix.h>
#if __has_include(<linux/filelock.h>) /* 6.3 */
#include <linux/filelock.h>
#endif
#if __has_include(<linux/maple_tree.h>) /* 6.1 */
#include <linux/maple_tree.h>
#endif
#if __has_include(<linux/blk_types.h>)
#include <linux/blk_types.h>
#endif

#if __has_include("fs/mount.h")
#include "fs/mount.h"
#else
/* A header package has no such file. The first fields have been the same since 3.3. */
struct mount {
	struct hlist_node mnt_hash;
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
};
#endif

#if __has_include("kernel/locking/mutex.h")
#include "kernel/locking/mutex.h"
#elif LINUX_VERSION_CODE >= KERNEL_VERSION(5, 17, 0)
/* Before, linux/mutex.h has it. */
struct mutex_waiter {
	struct list_head list;
	struct task_struct *task;
};
#endif

/* These are in C files; the first fields have been the same since 3.10
 * (kernel/locking/semaphore.c, rwsem.c) and 4.15 (kernel/time/timer.c). */
struct semaphore_waiter {
	struct list_head list;
	struct task_struct *task;
};
struct rwsem_waiter {
	struct list_head list;
	struct task_struct *task;
};
struct process_timer {
	struct timer_list timer;
	struct task_struct *task;
};

#define KEEP(type) struct type *unwedge_##type;
KEEP(task_struct) KEEP(signal_struct) KEEP(mutex) KEEP(semaphore) KEEP(rw_semaphore)
KEEP(mutex_waiter) KEEP(files_struct) KEEP(fdtable) KEEP(file) KEEP(inode)
KEEP(super_block) KEEP(address_space) KEEP(pipe_inode_info) KEEP(file_lock_context)
KEEP(file_lock_core) KEEP(file_lock) KEEP(swait_queue) KEEP(swait_queue_head)
KEEP(completion) KEEP(wait_queue_entry) KEEP(wait_queue_head) KEEP(wait_page_queue)
KEEP(folio) KEEP(page) KEEP(wait_bit_queue_entry) KEEP(wait_bit_key) KEEP(buffer_head)
KEEP(bio) KEEP(block_device) KEEP(gendisk) KEEP(work_struct) KEEP(rb_root_cached)
KEEP(rb_node) KEEP(rb_root) KEEP(socket) KEEP(sock) KEEP(unix_sock) KEEP(pid) KEEP(upid)
KEEP(mm_struct) KEEP(vm_area_struct) KEEP(maple_range_64) KEEP(maple_arange_64)
KEEP(dentry) KEEP(vfsmount) KEEP(vm_special_mapping) KEEP(xa_node) KEEP(module)
KEEP(module_memory) KEEP(mod_kallsyms) KEEP(hrtimer_sleeper) KEEP(timer_list)
KEEP(pcpu_hot) KEEP(list_head) KEEP(mount) KEEP(semaphore_waiter) KEEP(rwsem_waiter)
KEEP(process_timer)
union thread_union *unwedge_thread_union;
