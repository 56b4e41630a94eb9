package dump

import (
	"strings"
	"testing"
)

// Pieces of logs.
const (
	x86Head = "CPU: 1 UID: 0 PID: 77 Comm: sh Not tainted 6.12.0 #1\n"
	endTask = " </TASK>\n"
)

func x86Trace(frames ...string) string {
	return "Call Trace:\n <TASK>\n" + lines(frames...) + endTask
}

func armTrace(frames ...string) string { return "Call trace:\n" + lines(frames...) }

func lines(frames ...string) string {
	var b strings.Builder
	for _, f := range frames {
		b.WriteString(" " + f + "+0x12/0x34\n")
	}
	return b.String()
}

func rip(fn string) string { return "RIP: 0010:" + fn + "+0x12/0x34\n" }

// printk gives each line a stamp, as on a console.
func printk(text string) []byte {
	var b strings.Builder
	b.WriteString("[    0.000000] Linux version 6.12.0 (gcc) #1 SMP\n")
	for l := range strings.Lines(text) {
		b.WriteString("[    5.000000] " + l)
	}
	return []byte(b.String())
}

// TestTitles: the titles are those that syzbot gives such a report, but for the
// ones that the package comment lists.
func TestTitles(t *testing.T) {
	const (
		cut     = "------------[ cut here ]------------\n"
		lockdep = "======================================================\n"
	)
	for _, tc := range []struct{ want, log string }{
		// Oopses of x86.
		{"BUG: unable to handle kernel NULL pointer dereference in foo_open", "BUG: kernel NULL pointer dereference, address: 0000000000000008\n#PF: supervisor read access in kernel mode\nOops: Oops: 0000 [#1] PREEMPT SMP\n" + x86Head + rip("foo_open") + x86Trace("chrdev_open", "do_dentry_open")},
		{"BUG: unable to handle kernel NULL pointer dereference in foo_open", "BUG: unable to handle kernel NULL pointer dereference at 0000000000000008\nIP: [<ffffffff81234567>] foo_open+0x12/0x34\nOops: 0000 [#1] SMP\nCPU: 1 PID: 77 Comm: sh Not tainted 4.4.0 #1\nRIP: 0010:[<ffffffff81234567>]  [<ffffffff81234567>] foo_open+0x12/0x34\nCall Trace:\n [<ffffffff81234568>] chrdev_open+0x12/0x34\n"},
		{"BUG: unable to handle kernel paging request in foo_write", "BUG: unable to handle page fault for address: ffffed1012345678\n#PF: supervisor write access in kernel mode\nOops: 0002 [#1] PREEMPT SMP KASAN\n" + x86Head + rip("foo_write") + x86Trace("vfs_write")},
		{"BUG: unable to handle kernel paging request in foo_write", "BUG: unable to handle kernel paging request at ffffed1012345678\nOops: 0002 [#1] SMP\n" + x86Head + rip("foo_write")},
		{"BUG: unable to handle kernel paging request in foo_copy", "BUG: unable to handle page fault for address: ffffed1012345678\nOops: 0002 [#1] SMP\n" + x86Head + rip("memcpy_erms") + x86Trace("foo_copy", "vfs_write")},
		{"general protection fault in foo_list", "general protection fault, probably for non-canonical address 0xdead000000000100: 0000 [#1] PREEMPT SMP PTI\n" + x86Head + rip("__list_del_entry_valid_or_report") + x86Trace("foo_list", "foo_exit")},
		{"general protection fault in foo_list", "Oops: general protection fault, probably for non-canonical address 0xdffffc0000000000: 0000 [#1] PREEMPT SMP KASAN NOPTI\nKASAN: null-ptr-deref in range [0x0000000000000000-0x0000000000000007]\n" + x86Head + rip("foo_list")},
		{"general protection fault in foo_list", "general protection fault: 0000 [#1] SMP\n" + x86Head + "RIP: 0010:[<ffffffff81234567>]  [<ffffffff81234567>] foo_list+0x12/0x34\n"},
		{"invalid opcode in foo_init", "Oops: invalid opcode: 0000 [#1] PREEMPT SMP NOPTI\n" + x86Head + rip("foo_init") + x86Trace("do_one_initcall")},
		{"invalid opcode in foo_init", "invalid opcode: 0000 [#1] PREEMPT SMP\n" + x86Head + rip("foo_init.cold")},
		{"divide error in foo_scale", "divide error: 0000 [#1] SMP\n" + x86Head + rip("foo_scale")},
		{"divide error in foo_scale", "divide_error: 0000 [#1] SMP\n" + x86Head + rip("foo_scale")},
		{"stack segment fault in foo_call", "stack segment: 0000 [#1] SMP\n" + x86Head + rip("foo_call")},
		{"stack segment fault in foo_call", "Oops: stack segment: 0000 [#1] SMP\n" + x86Head + rip("foo_call")},
		{"PANIC: double fault in foo_deep", "traps: PANIC: double fault, error_code: 0x0\nOops: double fault: 0000 [#1] SMP\n" + x86Head + rip("foo_deep")},
		{"BUG: stack guard page was hit in foo_deep", "BUG: TASK stack guard page was hit at ffffc90000df7ff8 (stack is ffffc90000df8000..ffffc90000e00000)\nOops: stack guard page: 0000 [#1] SMP\n" + x86Head + rip("foo_deep")},
		// Oopses of arm64 and others.
		{"BUG: unable to handle kernel NULL pointer dereference in foo_probe", "Unable to handle kernel NULL pointer dereference at virtual address 0000000000000010\nMem abort info:\n  ESR = 0x0000000096000004\nInternal error: Oops: 0000000096000004 [#1] SMP\n" + x86Head + "pc : foo_probe+0x12/0x34\nlr : platform_probe+0x12/0x34\n" + armTrace("foo_probe", "platform_probe")},
		{"BUG: unable to handle kernel paging request in foo_probe", "Unable to handle kernel paging request at virtual address dfff800000000000\nInternal error: Oops: 96000005 [#1] PREEMPT SMP\n" + x86Head + "pc : foo_probe+0x12/0x34\n"},
		{"BUG: unable to handle kernel access to user memory in foo_ioctl", "Unable to handle kernel access to user memory outside uaccess routines at virtual address 0000000020000040\nInternal error: Oops: 9600000f [#1] SMP\n" + x86Head + "pc : foo_ioctl+0x12/0x34\n"},
		{"Internal error in foo_write", "Unable to handle kernel write to read-only memory at virtual address ffff800008000000\nInternal error: Oops: 9600004f [#1] SMP\n" + x86Head + "pc : foo_write+0x12/0x34\n"},
		{"Internal error in foo_init", "Internal error: Oops - BRK: 00000000f2000001 [#1] SMP\n" + x86Head + "pc : foo_init+0x12/0x34\n" + armTrace("foo_init", "do_one_initcall")},
		{"Internal error in foo_reset", "Internal error: synchronous external abort: 0000000096000010 [#1] SMP\n" + x86Head + "pc : foo_reset+0x12/0x34\n"},
		{"Internal error in foo_old", "Internal error: undefined instruction: 0 [#1] SMP\n" + "CPU: 0 PID: 1 Comm: swapper/0 Not tainted 4.19.0 #1\nPC is at foo_old+0x12/0x34\nLR is at x+0x1/0x2\n"},
		{"Unhandled fault in foo_map", "Unhandled fault: page domain fault (0x01b) at 0x00000000\n" + "PC is at foo_map+0x12/0x34\n"},
		{"BUG: unable to handle kernel NULL pointer dereference in foo_ppc", "BUG: Kernel NULL pointer dereference on read at 0x00000008\nOops: Kernel access of bad area, sig: 11 [#1]\n" + x86Head + "Call Trace:\n[c000000012345670] [c0000000001234ab] foo_ppc+0x12/0x34\n"},
		// BUG() and what calls itself a BUG.
		{"kernel BUG in foo_evict", cut + "kernel BUG at fs/inode.c:611!\nOops: invalid opcode: 0000 [#1] PREEMPT SMP\n" + x86Head + rip("foo_evict") + x86Trace("evict")},
		{"kernel BUG in foo_evict", cut + "kernel BUG at fs/inode.c:611!\nInternal error: Oops - BUG: 00000000f2000800 [#1] SMP\n" + x86Head + "pc : foo_evict+0x12/0x34\n" + armTrace("foo_evict")},
		{"kernel BUG in foo_xmit", cut + "kernel BUG at net/core/skbuff.c:109!\ninvalid opcode: 0000 [#1] SMP\n" + x86Head + rip("skb_panic") + x86Trace("skb_put", "foo_xmit")},
		{"BUG: corrupted list in foo_add", cut + "kernel BUG at lib/list_debug.c:29!\ninvalid opcode: 0000 [#1] SMP\n" + x86Head + rip("__list_add_valid_or_report") + x86Trace("foo_add")},
		{"BUG: bad usercopy in foo_read", cut + "kernel BUG at mm/usercopy.c:102!\ninvalid opcode: 0000 [#1] SMP\n" + x86Head + rip("usercopy_abort") + x86Trace("__check_heap_object", "__check_object_size", "foo_read")},
		{"BUG: scheduling while atomic in foo_tick", "BUG: scheduling while atomic: swapper/0/1/0x00000002\nModules linked in:\n" + x86Head + x86Trace("dump_stack_lvl", "__schedule_bug", "__schedule", "schedule", "schedule_timeout", "foo_tick", "do_one_initcall")},
		{"BUG: sleeping function called from invalid context in foo_alloc", "BUG: sleeping function called from invalid context at include/linux/sched/mm.h:306\nin_atomic(): 1, irqs_disabled(): 0, non_block: 0, pid: 77, name: sh\n" + x86Head + x86Trace("dump_stack_lvl", "__might_resched", "kmem_cache_alloc_noprof", "foo_alloc", "foo_init")},
		{"BUG: sleeping function called from invalid context in foo_lock", "BUG: sleeping function called from invalid context at kernel/locking/mutex.c:580\n" + x86Head + x86Trace("dump_stack", "___might_sleep", "__mutex_lock", "foo_lock")},
		{"BUG: using smp_processor_id() in preemptible code in foo_stat", "BUG: using smp_processor_id() in preemptible [00000000] code: sh/77\ncaller is foo_stat+0x12/0x34\n" + x86Head + x86Trace("dump_stack_lvl", "check_preemption_disabled", "foo_stat")},
		{"BUG: spinlock bad magic in foo_irq", "BUG: spinlock bad magic on CPU#0, sh/77\n lock: 0xffff888012345678, .magic: 00000000, .owner: <none>/-1, .owner_cpu: 0\n" + x86Head + x86Trace("dump_stack_lvl", "spin_bug", "do_raw_spin_lock", "_raw_spin_lock_irqsave", "foo_irq")},
		{"BUG: rwlock wrong CPU in foo_rw", "BUG: rwlock wrong CPU on CPU#1, sh/77, ffff888012345678\n" + x86Head + x86Trace("dump_stack_lvl", "rwlock_bug", "do_raw_write_unlock", "_raw_write_unlock", "foo_rw")},
		{"BUG: workqueue lockup", "BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 334s!\nShowing busy workqueues and worker pools:\n"},
		{"BUG: workqueue leaked lock or atomic in foo_work", "BUG: workqueue leaked lock or atomic: kworker/0:1/0x00000001/10\n     last function: foo_work\n" + x86Head + x86Trace("dump_stack_lvl", "process_one_work")},
		{"memory leak in foo_create", "BUG: memory leak\nunreferenced object 0xffff888012345678 (size 128):\n  comm \"sh\", pid 77, jiffies 4294942432 (age 12.340s)\n  hex dump (first 32 bytes):\n    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00  ................\n  backtrace (crc 0):\n    [<ffffffff81234567>] kmalloc_trace+0x12/0x34\n    [<ffffffff81234568>] foo_create+0x12/0x34\n"},
		{"BUG: Bad rss-counter state", "BUG: Bad rss-counter state mm:ffff888012345678 type:MM_ANONPAGES val:3\n"},
		{"BUG: Bad page state", "BUG: Bad page state in process sh  pfn:12345\npage:ffffea0000012345 refcount:-1 mapcount:0\n" + x86Head + x86Trace("dump_stack_lvl", "bad_page", "free_unref_page")},
		{"BUG: Dentry still in use in unmount", "BUG: Dentry ffff888012345678{i=1,n=foo}  still in use (1) [unmount of ext4 vda1]\n"},
		// WARN().
		{"WARNING in foo_check", cut + "WARNING: CPU: 0 PID: 1 at drivers/foo/bar.c:12 foo_check+0x12/0x34\n" + x86Head + rip("foo_check") + x86Trace("do_one_initcall")},
		{"WARNING in foo_check", cut + "WARNING: CPU: 0 PID: 1 at drivers/foo/bar.c:12 foo_check.isra.0.cold+0x12/0x34 [foo]\n" + x86Head + rip("foo_check.isra.0.cold")},
		{"WARNING in foo_check", cut + "WARNING: drivers/foo/bar.c:12 at foo_check+0x12/0x34, CPU#0: swapper/0/1\n" + x86Head + rip("foo_check")},
		{"WARNING in foo_check", cut + "WARNING: drivers/foo/bar.c:12 at 0x0, CPU#0: swapper/0/1\n" + x86Head + rip("foo_check")},
		{"WARNING in __switch_to", cut + "WARNING: arch/arm64/kernel/process.c:738 at __switch_to+0x12/0x34, CPU#0: swapper/0/1\n" + x86Head + "pc : __switch_to+0x12/0x34\n" + armTrace("__switch_to", "__schedule", "foo")},
		{"WARNING in foo_check", cut + "WARNING: at drivers/foo/bar.c:12 foo_check+0x12/0x34()\nCall Trace:\n [<ffffffff81234567>] warn_slowpath_common+0x12/0x34\n [<ffffffff81234567>] warn_slowpath_null+0x12/0x34\n [<ffffffff81234567>] foo_check+0x12/0x34\n"},
		{"WARNING: refcount bug in foo_put", cut + "refcount_t: underflow; use-after-free.\nWARNING: CPU: 0 PID: 1 at lib/refcount.c:28 refcount_warn_saturate+0x12/0x34\n" + x86Head + rip("refcount_warn_saturate") + x86Trace("kobject_put", "foo_put")},
		{"WARNING: ODEBUG bug in foo_free", cut + "WARNING: CPU: 0 PID: 1 at lib/debugobjects.c:514 debug_print_object+0x12/0x34\n" + x86Head + rip("debug_print_object") + x86Trace("debug_check_no_obj_freed", "kfree", "foo_free")},
		{"WARNING: kobject bug in foo_add", cut + "WARNING: CPU: 0 PID: 1 at lib/kobject.c:622 kobject_get+0x12/0x34\n" + x86Head + rip("kobject_get") + x86Trace("kobject_add_internal", "foo_add")},
		{"WARNING: proc registration bug in foo_net", cut + "WARNING: CPU: 0 PID: 1 at fs/proc/generic.c:375 proc_register+0x12/0x34\n" + x86Head + rip("proc_register") + x86Trace("proc_create_data", "foo_net")},
		// lockdep and RCU.
		{"possible deadlock in foo_lock", lockdep + "WARNING: possible circular locking dependency detected\n6.12.0 #1 Not tainted\n------------------------------------------------------\nsh/77 is trying to acquire lock:\nffff888012345678 (&foo->lock){+.+.}-{3:3}, at: foo_lock+0x12/0x34\n\nbut task is already holding lock:\nffff888012345679 (&bar->lock){+.+.}-{3:3}, at: bar_lock+0x12/0x34\n\nthe existing dependency chain (in reverse order) is:\n\n-> #1 (&bar->lock){+.+.}-{3:3}:\n       __mutex_lock+0x12/0x34\n       other_place+0x12/0x34\n\nstack backtrace:\n" + x86Head + x86Trace("dump_stack_lvl", "print_circular_bug", "check_noncircular", "__lock_acquire", "lock_acquire", "__mutex_lock", "foo_lock")},
		{"possible deadlock in bar_flush", lockdep + "WARNING: possible circular locking dependency detected\nsh/77 is trying to acquire lock:\nffff888012345678 ((work_completion)(&x)){+.+.}-{0:0}, at: __flush_work+0x12/0x34\n\nbut task is already holding lock:\nffff888012345679 (&bar->lock){+.+.}-{3:3}, at: bar_flush+0x12/0x34\n"},
		{"possible deadlock in foo_lock", "=============================================\n[ INFO: possible recursive locking detected ]\n4.4.0 #1 Not tainted\n---------------------------------------------\nsh/77 is trying to acquire lock:\n (&foo->lock){+.+.+.}, at: [<ffffffff81234567>] foo_lock+0x12/0x34\n"},
		{"possible deadlock in foo_irq", "WARNING: possible irq lock inversion dependency detected\nsh/77 just changed the state of lock:\nffff888012345678 (&foo->lock){-...}-{2:2}, at: foo_irq+0x12/0x34\n"},
		{"possible deadlock in foo_timer", "WARNING: SOFTIRQ-safe -> SOFTIRQ-unsafe lock order detected\nsh/77 [HC0[0]:SC0[0]:HE1:SE1] is trying to acquire:\nffff888012345678 (&bar->lock){+.+.}-{2:2}, at: bar_lock+0x12/0x34\n\nand this task is already holding:\nffff888012345679 (&foo->lock){+.-.}-{2:2}, at: foo_take+0x12/0x34\nbut this new dependency connects a SOFTIRQ-irq-safe lock:\n (&foo->lock){+.-.}-{2:2}\n\n... which became SOFTIRQ-irq-safe at:\n  lock_acquire+0x12/0x34\n  _raw_spin_lock+0x12/0x34\n  foo_timer+0x12/0x34\n\nto a SOFTIRQ-irq-unsafe lock:\n"},
		{"inconsistent lock state in foo_bh", "================================\nWARNING: inconsistent lock state\n6.12.0 #1 Not tainted\n--------------------------------\ninconsistent {SOFTIRQ-ON-W} -> {IN-SOFTIRQ-W} usage.\nsh/77 [HC0[0]:SC1[1]:HE1:SE0] takes:\nffff888012345678 (&foo->lock){+.?.}-{2:2}, at: foo_bh+0x12/0x34\n{SOFTIRQ-ON-W} state was registered at:\n  lock_acquire+0x12/0x34\n  bar_take+0x12/0x34\nstack backtrace:\n" + x86Head + x86Trace("dump_stack_lvl", "print_usage_bug", "mark_lock", "__lock_acquire", "lock_acquire", "_raw_spin_lock", "foo_bh")},
		{"WARNING: suspicious RCU usage in foo_walk", "=============================\nWARNING: suspicious RCU usage\n6.12.0 #1 Not tainted\n-----------------------------\nnet/foo.c:12 suspicious rcu_dereference_check() usage!\nstack backtrace:\n" + x86Head + x86Trace("dump_stack_lvl", "lockdep_rcu_suspicious", "foo_walk")},
		{"INFO: suspicious RCU usage in foo_walk", "[ INFO: suspicious RCU usage. ]\nnet/foo.c:12 suspicious rcu_dereference_check() usage!\nstack backtrace:\nCall Trace:\n [<ffffffff81234567>] dump_stack+0x12/0x34\n [<ffffffff81234567>] lockdep_rcu_suspicious+0x12/0x34\n [<ffffffff81234567>] foo_walk+0x12/0x34\n"},
		{"INFO: trying to register non-static key in foo_setup", "INFO: trying to register non-static key.\nThe code is fine but needs lockdep annotation, or maybe\n" + x86Head + x86Trace("dump_stack_lvl", "register_lock_class", "__lock_acquire", "lock_acquire", "_raw_spin_lock", "foo_setup")},
		{"WARNING: bad unlock balance in foo_unlock", "=====================================\nWARNING: bad unlock balance detected!\nsh/77 is trying to release lock (&foo->lock) at:\n[<ffffffff81234567>] foo_unlock+0x12/0x34\nbut there are no more locks to release!\nstack backtrace:\n" + x86Head + x86Trace("dump_stack_lvl", "print_unlock_imbalance_bug", "lock_release", "__mutex_unlock_slowpath", "foo_unlock")},
		{"WARNING: held lock freed in foo_take", "WARNING: held lock freed!\nsh/77 is freeing memory ffff888012345000-ffff888012345fff, with a lock still held there!\nffff888012345678 (&foo->lock){+.+.}-{3:3}, at: foo_take+0x12/0x34\n"},
		{"WARNING: lock held when returning to user space in foo_take", "================================================\nWARNING: lock held when returning to user space!\n------------------------------------------------\nsh/77 is leaving the kernel with locks still held!\n1 lock held by sh/77:\n #0: ffff888012345678 (&foo->lock){+.+.}-{3:3}, at: foo_take+0x12/0x34\n"},
		{"WARNING: locking bug in foo_irq", "=============================\n[ BUG: Invalid wait context ]\n6.12.0 #1 Not tainted\n-----------------------------\nsh/77 is trying to lock:\nffff888012345678 (&foo->lock){....}-{3:3}, at: foo_irq+0x12/0x34\nstack backtrace:\n" + x86Head + x86Trace("dump_stack_lvl", "__lock_acquire", "lock_acquire", "_raw_spin_lock", "foo_irq")},
		// Sanitizers; they title whether or not the kernel panics.
		{"KASAN: slab-use-after-free Read in foo_use", "==================================================================\nBUG: KASAN: slab-use-after-free in foo_use+0x12/0x34 [foo]\nRead of size 8 at addr ffff888012345678 by task sh/77\n" + x86Head + x86Trace("dump_stack_lvl", "print_report", "kasan_report", "foo_use") + "\nAllocated by task 12:\n kasan_save_stack+0x12/0x34\n foo_alloc+0x12/0x34\n"},
		{"KASAN: use-after-free Write in foo_copy", "BUG: KASAN: use-after-free in memcpy+0x12/0x34\nWrite of size 64 at addr ffff888012345678 by task sh/77\n" + x86Head + x86Trace("dump_stack", "kasan_report", "memcpy", "foo_copy")},
		{"KASAN: null-ptr-deref Write in foo_dec", "BUG: KASAN: null-ptr-deref in atomic_dec+0x12/0x34\nWrite of size 4 at addr 0000000000000010 by task sh/77\n" + x86Head + x86Trace("dump_stack_lvl", "kasan_report", "kasan_check_range", "foo_dec")},
		{"KASAN: invalid-free in foo_free", "BUG: KASAN: double-free in kfree+0x12/0x34\nFree of addr ffff888012345678 by task sh/77\n" + x86Head + x86Trace("dump_stack_lvl", "kasan_report_invalid_free", "kfree", "foo_free")},
		{"KMSAN: uninit-value in foo_parse", "BUG: KMSAN: uninit-value in foo_parse+0x12/0x34\n foo_parse+0x12/0x34\n vfs_write+0x12/0x34\n\nUninit was created at:\n slab_post_alloc_hook+0x12/0x34\n foo_make+0x12/0x34\n"},
		{"KCSAN: data-race in foo_get / foo_set", "BUG: KCSAN: data-race in foo_get / foo_set.isra.0\n"},
		{"KFENCE: use-after-free read in foo_use", "BUG: KFENCE: use-after-free read in foo_use+0x12/0x34\n"},
		{"KFENCE: invalid free in foo_free", "BUG: KFENCE: invalid free in foo_free+0x12/0x34\n"},
		{"UBSAN: array-index-out-of-bounds in foo_table", "UBSAN: array-index-out-of-bounds in drivers/foo/bar.c:12:34\nindex 8 is out of range for type 'int [8]'\n" + x86Head + x86Trace("dump_stack_lvl", "ubsan_epilogue", "__ubsan_handle_out_of_bounds", "foo_table")},
		{"UBSAN: undefined-behaviour in foo_shift", "UBSAN: Undefined behaviour in drivers/foo/bar.c:12:34\nshift exponent 64 is too large\n" + x86Head + x86Trace("dump_stack", "ubsan_epilogue", "foo_shift")},
		// What does not come back.
		{"BUG: soft lockup in foo_poll", "watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [sh:77]\n" + x86Head + rip("foo_poll") + x86Trace("vfs_read")},
		{"BUG: soft lockup in foo_poll", "watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [sh:77]\n" + x86Head + "pc : foo_poll+0x12/0x34\n" + armTrace("foo_poll", "vfs_read", "__arm64_sys_read")},
		{"INFO: rcu detected stall in foo_poll", "rcu: INFO: rcu_preempt self-detected stall on CPU\nrcu: \t0-....: (2100 ticks this GP) idle=2c94/1/0x4000000000000002 softirq=41/41 fqs=1050\n" + x86Head + rip("foo_poll") + x86Trace("vfs_read")},
		{"INFO: rcu detected stall in foo_poll", "INFO: rcu_sched detected stalls on CPUs/tasks: { 0} (detected by 1, t=60002 jiffies, g=1, c=0, q=0)\nsending NMI to all CPUs:\nNMI backtrace for cpu 0\nCPU: 0 PID: 77 Comm: sh Not tainted 3.10.0 #1\nRIP: 0010:[<ffffffff81234567>]  [<ffffffff81234567>] foo_poll+0x12/0x34\n"},
		{"INFO: task hung in foo_open", "INFO: task sh:77 blocked for more than 120 seconds.\n      Not tainted 6.12.0 #1\ntask:sh              state:D stack:0     pid:77    tgid:77    ppid:1      flags:0x00000000\n" + x86Trace("__schedule", "schedule", "schedule_preempt_disabled", "__mutex_lock.constprop.0", "foo_open", "chrdev_open")},
		{"INFO: task hung in rtnl_lock", "INFO: task sh:77 blocked for more than 120 seconds.\ntask:sh              state:D stack:0     pid:77    tgid:77    ppid:1      flags:0x00000000\n" + x86Trace("__schedule", "schedule", "__mutex_lock", "rtnl_lock", "foo_netdev")},
		{"INFO: task hung in synchronize_rcu", "INFO: task sh:77 blocked for more than 120 seconds.\ntask:sh              state:D stack:0     pid:77    tgid:77    ppid:1      flags:0x00000000\n" + x86Trace("__schedule", "schedule", "schedule_timeout", "__wait_for_common", "synchronize_rcu_expedited", "foo_stop")},
		{"INFO: task hung in foo_buf_read", "INFO: task mount:77 blocked for more than 120 seconds.\ntask:mount           state:D stack:0     pid:77    tgid:77    ppid:1      flags:0x00000000\n" + x86Trace("__schedule", "io_schedule", "bit_wait_io", "foo_buf_iowait", "foo_buf_read")},
		{"INFO: task can't die in foo_exit", "INFO: task sh:77 can't die for more than 143 seconds.\ntask:sh              state:R stack:0     pid:77    tgid:77    ppid:1      flags:0x00000000\n" + x86Trace("__schedule", "foo_exit")},
		{"unregister_netdevice: waiting for DEV to become free", "unregister_netdevice: waiting for lo to become free. Usage count = 2\n"},
		// Panics.
		{"kernel panic: VFS: Unable to mount root fs on unknown-block(0,0)", "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\n"},
		{"kernel panic: Attempted to kill init! exitcode=0x0000000b", "Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000000b\n"},
		{"kernel panic: stack is corrupted in foo_buf", "Kernel panic - not syncing: stack-protector: Kernel stack is corrupted in: foo_buf+0x12/0x34\n"},
		{"kernel panic: stack is corrupted in foo_buf", "Kernel panic - not syncing: stack-protector: Kernel stack is corrupted in: ffffffff81234567\n" + x86Head + x86Trace("dump_stack_lvl", "panic", "__stack_chk_fail", "foo_buf")},
		{"kernel panic: corrupted stack end in foo_deep", "Kernel panic - not syncing: corrupted stack end detected inside scheduler\n" + x86Head + x86Trace("dump_stack_lvl", "panic", "__schedule", "schedule", "foo_deep")},
		{"kernel stack overflow in foo_deep", "Kernel panic - not syncing: kernel stack overflow\n" + x86Head + armTrace("dump_backtrace", "panic", "nmi_panic", "panic_bad_stack", "handle_bad_stack", "__bad_stack", "foo_deep")},
		{"kernel panic: Couldn't open N_TTY ldisc", "Kernel panic - not syncing: Couldn't open N_TTY ldisc for ptm1 --- error -12.\n"},
		{"kernel panic: Fatal exception", "Kernel panic - not syncing: Fatal exception in interrupt\n"},
		{"kernel panic: hung_task: blocked tasks", "Kernel panic - not syncing: hung_task: blocked tasks\n"},
	} {
		d := Parse(printk(tc.log))
		if len(d.Reports) == 0 || d.Reports[0].Title != tc.want {
			got := "nothing"
			if len(d.Reports) > 0 {
				got = d.Reports[0].Title
			}
			t.Errorf("%q, want %q, for\n%s", got, tc.want, tc.log)
		}
	}
}

// TestOneTitleForAllBuilds: what tells builds, boots and archs apart is not in
// a title.
func TestOneTitleForAllBuilds(t *testing.T) {
	const log = "INFO: task sh:77 blocked for more than 120 seconds.\ntask:sh              state:D stack:0     pid:77    tgid:77    ppid:1      flags:0x00000000\n"
	want := "INFO: task hung in foo"
	for _, frame := range []string{"__x64_sys_foo", "__arm64_sys_foo", "__ia32_sys_foo", "__se_sys_foo", "__do_sys_foo", "ksys_foo", "sys_foo", "SyS_foo", "foo.isra.0", "foo.constprop.0", "foo.part.0.cold", "foo.llvm.123456"} {
		if d := Parse(printk(log + x86Trace("__schedule", "schedule", frame))); d.Reports[0].Title != want {
			t.Errorf("%s: %q", frame, d.Reports[0].Title)
		}
	}
}
