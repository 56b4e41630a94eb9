package dump

import (
	"slices"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/model"
)

// blame picks the function for a title: the instruction pointer's, or the
// innermost of the chain that may be to blame. If the stack reaches the code that
// starts initcalls, work items or system calls first, it is the report's Func.
func blame(r *Report, ip string, skip []string) string {
	try := func(fn string) bool { return fn != "" && !harmless(fn, skip) }
	if b := model.BaseName(ip); try(b) && (!IsGeneric(b) || r.crashed()) {
		return PlainName(b)
	}
	for _, f := range model.Trusted(r.Frames) {
		b := f.Base()
		if isAnchor(b) {
			break
		}
		if try(b) && !IsGeneric(b) && !pastEnd(f) {
			return PlainName(b)
		}
	}
	return PlainName(r.Func)
}

// crashed says that the instruction pointer is where it happened, not what a
// detector interrupted.
func (r *Report) crashed() bool {
	return r.Kind == ReportOops || r.Kind == ReportWarning || r.Kind == ReportBug
}

// isAnchor says whether a function only starts what is above it.
func isAnchor(fn string) bool {
	switch fn {
	case "do_one_initcall", "kernel_init_freeable", "start_kernel", "process_one_work", "worker_thread", "kthread", "ret_from_fork", "ret_from_fork_asm":
		return true
	}
	return false
}

// syscallPrefixes are what the kernel's macros put before a system call's name,
// by arch and version (include/linux/syscalls.h and asm/syscall_wrapper.h).
var syscallPrefixes = []string{
	"__do_compat_sys_", "__se_compat_sys_", "__arm64_compat_sys_", "__ia32_compat_sys_", "compat_SYSC_", "compat_SyS_",
	"__do_sys_", "__se_sys_", "__x64_sys_", "__ia32_sys_", "__arm64_sys_", "__riscv_sys_", "SYSC_", "SyS_",
	"____sys_", "___sys_", "__sys_", "ksys_", "sys_",
}

// PlainName strips what compilers, architectures and kernel versions add to a
// function's name: suffixes and the prefixes of system calls.
func PlainName(fn string) string {
	fn = model.BaseName(fn)
	for _, p := range syscallPrefixes {
		if rest, ok := strings.CutPrefix(fn, p); ok && rest != "" {
			return rest
		}
	}
	return fn
}

// harmless says whether a function crashes or complains because of its caller:
// it allocates, counts references, copies, prints, locks, keeps lists, or belongs
// to the report itself.
func harmless(fn string, skip []string) bool {
	return slices.ContainsFunc(skip, func(s string) bool { return strings.Contains(fn, s) }) ||
		helperNames[fn] ||
		slices.ContainsFunc(helperPrefixes, func(s string) bool { return strings.HasPrefix(fn, s) }) ||
		slices.ContainsFunc(helperParts, func(s string) bool { return strings.Contains(fn, s) })
}

var (
	helperNames = makeSet(`
down up complete kfree kvfree vfree iput iput_final ihold dput fast_dput put_device copyin copyout get_taint
device_add device_del device_unregister device_destroy device_release get_device_parent device_for_each_child sysfs_remove
hwrng_unregister i2c_del_adapter __unregister_client usb_submit_urb usb_hcd_submit_urb usb_control_msg usb_kill_urb
__timer_delete_sync __mod_timer lock_timer_base sk_stop_timer_sync drop_nlink ida_free __phys_addr __fortify_report
insert_work __queue_delayed_work queue_delayed_work_on try_to_grab_pending finish_wait kthread_stop owner_on_cpu
pointer string va_format vsnprintf snprintf scnprintf hex_dump_to_buffer print_hex_dump allocate_slab check_object check_heap_object`)
	helperPrefixes = strings.Fields(`
mutex_ __mutex_ rt_mutex_ refcount_ kref_ rb_ __rb_ klist_ kobject_ list_add list_del __list_add __list_del list_move list_splice list_replace
atomic_ atomic64_ ref_tracker xas_start xas_load xas_find crc32 crc16 unlock_page lock_page print_usage_bug print_unlock mark_lock
_printk vprintk printk dev_info dev_notice dev_warn dev_err dev_alert dev_crit dev_emerg flush_work __flush_work cancel_work_sync __cancel_work
flush_workqueue __flush_workqueue drain_workqueue destroy_workqueue wait_for_completion kfree_skb alloc_page __alloc_page kmem_cache_ __kmem_cache
memcpy memcmp memset memchr memmove memdup strcmp strncmp strcpy strncpy strlcpy strscpy strlen strnlen strstr strnstr strchr strdup kstrdup strndup
copy_to_user copy_from_user _copy_to_user _copy_from_user __get_user __put_user get_user put_user _copy_to_iter _copy_from_iter`)
	helperParts = strings.Fields(`
kasan hwasan kmsan kcsan_ __sanitizer __asan __msan check_memory_region lockdep lock_acquire lock_release lock_class held_locks spin_lock spin_trylock
spin_unlock read_lock read_unlock write_lock write_unlock read_trylock write_trylock osq_lock down_read down_write up_read up_write bh_enable bh_disable
kmalloc kzalloc kcalloc kvmalloc vmalloc krealloc slab_ warn_alloc warn_slowpath warn_bogus debug_object dump_stack show_stack dump_backtrace
print_report print_address_description do_error do_trap invalid_op might_fault might_sleep might_resched __wake_up perf_trace _indirect_thunk_ kasprintf kvasprintf assertfail`)
)
