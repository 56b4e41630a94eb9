package dump

import "strings"

// helper is a reason why functions are not to blame for a report, with their names:
// whole names, where an asterisk stands for any text. Nothing else of this package
// or its users decides who is a helper.
type helper struct {
	why   string
	names string
	// named says that the function may still be named as where a task waits or runs:
	// it means something to a reader, but its caller is to blame for the report.
	named bool
	// crashes says that a crash with the instruction pointer in the function is its own.
	crashes bool
}

const entersKernel = "is how user space enters the kernel"

// helpers are the functions that are never to blame. A function is looked up by its
// name without compiler suffixes.
var helpers = []helper{
	// What makes the report, and the instrumentation that calls it.
	{why: "prints the trace", names: "dump_stack* __dump_stack show_stack* show_regs* show_trace_log_lvl dump_backtrace* unwind_backtrace dump_cpu_task sched_show_task show_state_filter __show_regs walk_stackframe *walk_stack* show_data save_stack* print_worker_info print_stop_info"},
	{why: "records a trace", names: "arch_stack_walk* stack_trace_* __save_stack_trace* save_stack_trace* stack_trace_consume_entry stack_depot_* __set_page_owner* unwind_next_frame unwind_start kernel_text_address __kernel_text_address"},
	{why: "panics", names: "panic vpanic *_panic panic_print_* check_panic_on_warn end_report __fortify_report panic_bad_stack panic_smp_self_stop"},
	{why: "reports a warning or a BUG()", names: "__warn __warn_printk warn_slowpath_* __report_bug report_bug report_bug_entry handle_bug fixup_bug* warn_bogus_* early_fixup_exception bug_handler brk_handler call_break_hook early_brk64 exc_invalid_op asm_exc_invalid_op handle_invalid_op invalid_op do_invalid_op program_check_exception program_check_common* __WARN_trap ct_bug_handler"},
	{why: "handles an exception", names: "die __die __die_header __die_body die_addr die_kernel_fault die_kernel_data_access oops_end oops_begin oops_enter no_context do_error_trap do_trap *do_trap* do_error* exc_* asm_exc_* error_entry error_return traps_init do_divide_error divide_error do_general_protection general_protection do_double_fault double_fault __bad_stack handle_bad_stack df_debug arm_notify_die arm64_notify_die"},
	{why: "handles a page fault", names: "page_fault_oops kernelmode_fixup_or_oops __bad_area_nosemaphore bad_area_nosemaphore __bad_area bad_area pgtable_bad do_user_addr_fault do_kern_addr_fault __do_page_fault do_page_fault page_fault async_page_fault __do_kernel_fault __do_user_fault do_translation_fault do_DataAbort do_PrefetchAbort do_bad_area do_alignment_fault do_sect_fault do_mem_abort do_sea do_tag_check_fault do_tag_recovery spurious_kernel_fault* bad_page_fault __bad_page_fault hash__do_page_fault mm_fault_error fixup_exception"},
	{why: "enters the kernel from the kernel (arm64, arm, riscv, powerpc, s390)", names: "el1_* el1h_* el1t_* __el1_* do_debug_exception do_undefinstr do_el1_* do_sp_pc_abort bad_mode do_serror arm64_serror_panic __dabt_svc __pabt_svc __und_svc* __irq_svc __fiq_svc handle_exception _save_context do_trap_* do_page_fault_* instruction_storage_common* data_access_common* alignment_common* __do_pgm_check pgm_check_handler do_dat_exception do_IRQ_*"},
	{why: "checks memory accesses for KASAN, KMSAN or KCSAN", names: "*kasan_* *kasan check_memory_region* *hwasan_* *kmsan_* __msan_* __asan_* __hwasan_* __tsan_* kcsan_* *_kcsan_* print_address_description* print_report describe_object* describe_address object_err __tag_check* check_region_inline memory_is_poisoned* kfence_report_error kfence_handle_page_fault kfence_guarded_* __kfence_* instrument_* instrumentation_*"},
	{why: "is instrumentation (kcov, gcov, ftrace, retpolines, stack protector)", names: "__sanitizer_cov_trace_* sanitizer_cov_* write_comp_data check_kcov_mode kcov_* __gcov_* ftrace_call ftrace_regs_call ftrace_graph_call ftrace_caller ftrace_regs_caller return_to_handler arch_ftrace_* __fentry__ mcount *_indirect_thunk_* __x86_return_thunk srso_*return_thunk zen_untrain_ret __stack_chk_fail stack_chk_fail __kcsan_* kretprobe_trampoline arch_rethook_trampoline perf_trace_* trace_event_raw_event_*"},
	{why: "checks the target of an indirect call or a bound", names: "__cfi_check __cfi_check_fail __cfi_slowpath* __cfi_slowpath_diag cfi_slowpath_handler report_cfi_failure handle_cfi_failure cfi_handler decode_cfi_insn __ubsan_handle_* ubsan_* __ubsan_* val_to_string handle_overflow handle_ubsan_failure report_ubsan_failure ubsan_handler"},
	{why: "reads a word for a check", names: "read_word_at_a_time __read_once_word_nocheck *_once_*nocheck"},
	{why: "says that a function may sleep or fault", names: "__might_sleep ___might_sleep might_sleep might_resched __might_resched __might_fault might_fault __schedule_bug"},
	{why: "checks preemption for the caller", names: "check_preemption_disabled debug_smp_processor_id __this_cpu_preempt_check preempt_count_add preempt_count_sub"},
	{why: "checks locks for the caller (lockdep, spin lock debugging)", names: "lock_acquire lock_acquired lock_release lock_contended lock_downgrade lock_is_held* lock_sync lock_pin_lock lock_unpin_lock __lock_acquire __lock_release __lock_is_held __lock_set_class lock_set_class lock_set_subclass *lock_class* lockdep_* *_lockdep_* register_lock_class reacquire_held_locks mark_held_locks mark_lock* mark_usage *held_locks* validate_chain check_prev_add check_prevs_add check_deadlock check_noncircular check_irq_usage check_usage* check_wait_context check_chain_key __bfs print_circular_bug* print_deadlock_bug print_usage_bug* print_bad_irq_dependency print_irq_inversion_bug* print_unlock_imbalance_bug print_unlock* *imbalance_bug* print_lock_* valid_state debug_show_all_locks debug_check_no_locks_held debug_check_no_locks_freed trace_hardirqs_* trace_softirqs_* __trace_hardirqs_* *_hardirqs_on* *_hardirqs_off* *_softirqs_on* *_softirqs_off* spin_bug spin_dump rwlock_bug __spin_lock_debug debug_spin_lock* do_raw_spin_lock do_raw_spin_unlock do_raw_*_lock do_raw_*_unlock seqprop_*assert* seqprop_assert"},
	{why: "checks the life of objects (debugobjects, kmemleak)", names: "debug_print_object debug_object_* __debug_object_* debug_check_no_obj_freed __debug_check_no_obj_freed debug_objects_* timer_is_static_object work_is_static_object kmemleak_* create_object __create_object"},
	{why: "injects a fault that a test asked for", names: "should_fail should_failslab should_fail_ex should_fail_alloc_page fail_dump"},
	{why: "taints the kernel or prints that it is tainted", names: "add_taint get_taint print_tainted* print_modules"},
	{why: "starts kdump", names: "crash_kexec __crash_kexec machine_kexec"},
	// The scheduler, and who waits for whom.
	{why: "is the scheduler: the task itself asked it to wait", names: "__switch_to __switch_to_asm context_switch __schedule __schedule_loop schedule schedule_timeout schedule_timeout_* schedule_hrtimeout schedule_hrtimeout_* schedule_preempt_disabled schedule_idle schedule_rtlock io_schedule io_schedule_* preempt_schedule preempt_schedule_* __cond_resched _cond_resched cond_resched rt_mutex_schedule schedule_debug dequeue_task* __traceiter_* resched_curr", crashes: true},
	{why: "is a mutex, and its caller takes it", names: "mutex_lock mutex_lock_* mutex_trylock mutex_unlock mutex_spin_on_owner mutex_optimistic_spin __mutex_* _mutex_* ww_mutex_* __ww_mutex_* __ww_rt_* rt_mutex_* __rt_mutex_* rtlock_slowlock* mutex_remove_waiter mutex_can_spin_on_owner mutex_is_locked mutex_destroy owner_on_cpu"},
	{why: "is a semaphore, and its caller takes it", names: "down up down_read* down_write* up_read* up_write* down_trylock down_interruptible down_killable down_timeout __down __down_* ___down_common __up __up_* _down_* rwsem_* __rwsem_* call_rwsem_* downgrade_write percpu_down_* percpu_up_* percpu_rwsem_* __percpu_down_* osq_lock osq_unlock owner_on_cpu rwbase_*"},
	{why: "is a spin lock, and its caller takes it", names: "*_raw_spin_* _spin_lock* _spin_unlock* spin_lock* spin_unlock* spin_trylock* raw_spin_* rt_spin_* __rt_spin_* *queued_spin_* *queued_read_* *queued_write_* _raw_read_* _raw_write_* __raw_read_* __raw_write_* read_lock* read_unlock* read_trylock* write_lock* write_unlock* write_trylock* rt_read_* rt_write_* arch_spin_* arch_read_* arch_write_* ticket_spin_* virt_spin_lock _raw_*_lock* __lock_text_start pv_wait* pv_kick* pv_hash kvm_wait kvm_kick_cpu xen_qlock_*"},
	{why: "turns interrupts or bottom halves on and off", names: "arch_local_irq_* __local_bh_enable* __local_bh_disable* local_bh_* local_irq_* *_bh_enable* *_bh_disable* native_irq_enable native_irq_disable native_save_fl native_restore_fl"},
	{why: "waits for a completion that its caller uses", names: "wait_for_completion* wait_for_common* __wait_for_common do_wait_for_common __wait_for_completion"},
	{why: "waits for a bit or a page that its caller uses", names: "bit_wait* __wait_on_bit* out_of_line_wait_on_bit* wait_on_bit* folio_wait_bit folio_wait_bit_* wait_on_page_bit* wait_on_page_read __lock_page* __folio_lock* prepare_to_wait* io_wait_event finish_wait", crashes: true},
	{why: "sleeps for a time that its caller chose", names: "usleep_range* msleep* ssleep fsleep nanosleep_* ", crashes: true},
	{why: "wakes others up", names: "__wake_up* wake_up_* ttwu_* autoremove_wake_function default_wake_function complete complete_all swake_up_*", named: true},
	{why: "waits for RCU, as its name says", names: "_synchronize_rcu_expedited", crashes: true},
	// Where stacks begin: what runs there is to blame.
	{why: entersKernel, names: "do_syscall_* __do_syscall_* x64_sys_call ia32_sys_call do_int80_* do_fast_syscall_* __do_fast_syscall_* do_SYSENTER_32 entry_SYSCALL_* entry_SYSENTER_* entry_INT80_* system_call_* sysenter_* syscall_call tracesys* invoke_syscall* __invoke_syscall el0_* el0t_* do_el0_svc* ret_fast_syscall ret_to_user syscall_exit_* syscall_enter_* syscall_return_* exit_to_user_mode_* exit_to_usermode_* irqentry_exit* irqentry_enter* prepare_exit_to_usermode int_ret_from_sys_call ret_from_syscall ret_from_exception __sys_trace_return system_call system_call_exception system_call_vectored_common do_trap_ecall_u", crashes: true},
	{why: "starts a thread or a program", names: "ret_from_fork* kthread kernel_thread_helper kernel_thread_starter ret_from_kernel_thread kernel_init kernel_init_freeable x86_64_start_* i386_start_kernel start_kernel secondary_startup_* startup_32_smp common_startup_64 cpu_startup_entry do_idle rest_init arch_call_rest_init secondary_start_kernel start_secondary __primary_switched __secondary_switched start_cpu* head_64 smp_callin", crashes: true},
	{why: "ends a task for another reason", names: "do_group_exit do_exit get_signal do_signal arch_do_signal_or_restart do_notify_resume make_task_dead rewind_stack_and_make_dead rewind_stack_do_exit", crashes: true},
	{why: "serves an interrupt: it only came by", names: "asm_sysvec_* sysvec_* __sysvec_* asm_common_interrupt common_interrupt smp_apic_timer_interrupt apic_timer_interrupt local_apic_timer_interrupt smp_call_function_interrupt call_function_interrupt reschedule_interrupt smp_reschedule_interrupt ret_from_intr retint_* asm_call_* call_on_irq_stack do_interrupt_handler do_IRQ handle_IRQ handle_irq handle_irq_* handle_domain_irq handle_edge_irq handle_level_irq handle_fasteoi_irq handle_simple_irq __common_interrupt __handle_domain_irq generic_handle_* handle_percpu_devid_* gic_handle_irq* __gic_handle_irq* gic_ipi_* ipi_handler* handle_IPI arch_timer_handler_* arch_timer_interrupt irq_enter* irq_exit* __irq_exit_rcu do_softirq* __do_softirq handle_softirqs* do_softirq_own_stack run_ksoftirqd smpboot_thread_fn invoke_softirq xen_hvm_callback_vector riscv_intc_irq riscv_timer_interrupt", crashes: true},
	{why: "is the timer's interrupt: it only came by", names: "hrtimer_interrupt __hrtimer_run_queues hrtimer_run_queues tick_sched_* tick_nohz_handler tick_nohz_highres_handler tick_handle_periodic tick_periodic update_process_times scheduler_tick", crashes: true},
	{why: "is the detector of RCU, lockups or hung tasks", names: "rcu_dump_cpu_stacks* print_cpu_stall* print_other_cpu_stall* check_cpu_stall* rcu_pending __rcu_pending rcu_check_callbacks rcu_sched_clock_irq rcu_dump_task rcu_sched_qs panic_on_rcu_stall watchdog watchdog_timer_fn watchdog_overflow_callback watchdog_hardlockup_check watchdog_nmi_* check_hung_uninterruptible_tasks check_hung_task __perf_event_overflow perf_event_overflow"},
	{why: "is the NMI that asks a CPU for its trace", names: "nmi_cpu_backtrace* nmi_trigger_cpumask_backtrace nmi_trigger_all_cpu_backtrace nmi_raise_cpu_backtrace arch_trigger_* trigger_*_cpu_backtrace nmi_handle default_do_nmi do_nmi exc_nmi asm_exc_nmi end_repeat_nmi nmi perf_event_nmi_handler perf_ibs_nmi_handler x86_pmu_handle_irq intel_pmu_handle_irq", crashes: true},
	{why: "is a symbol at the edge of the text", names: "efi_header_end _text _stext _etext __entry_text_start __init_begin stext", crashes: true},
	// Helpers of the whole kernel: the caller handed them what is bad.
	{why: "copies or compares memory for its caller", names: "memcpy* __memcpy* __pi_memcpy* __pi___memcpy* memset* __memset* __pi_memset* memmove* __memmove* __pi_memmove* memcmp __memcmp* __pi_memcmp memchr* memscan memdup* memcpy_* __memdup* kmemdup* kvmemdup* vmemdup* copy_page clear_page clear_page_* rep_movs_alternative"},
	{why: "works on strings for its caller", names: "strlen strnlen strcmp strncmp strcasecmp strncasecmp strcpy strncpy strlcpy strscpy* sized_strscpy strcat strncat strlcat strstr strnstr strchr strchrnul strrchr strnchr strspn strcspn strsep strim __pi_str* kstrdup* kstrndup strdup* strndup*"},
	{why: "copies to or from user space for its caller", names: "copy_to_user* copy_from_user* _copy_to_user* _copy_from_user* __copy_* raw_copy_* copy_user_* copyin copyout *_to_user_iter copy_to_iter* copy_from_iter* _copy_to_iter* _copy_from_iter* copy_page_to_iter* copy_page_from_iter* copy_folio_to_iter* __arch_copy_* arm_copy_* __get_user* __put_user* get_user* put_user* strncpy_from_user strnlen_user clear_user __clear_user __check_object_size check_heap_object extract_user_to_sg extract_iter_to_sg", named: true},
	{why: "formats text for its caller", names: "string string_nocheck pointer va_format vsnprintf snprintf scnprintf vscnprintf sprintf vsprintf kasprintf kvasprintf* hex_dump_to_buffer print_hex_dump* number hex_string seq_printf", named: true},
	{why: "prints for its caller", names: "printk _printk vprintk* printk_* __printk* dev_info _dev_info dev_notice _dev_notice dev_warn _dev_warn dev_err _dev_err dev_alert _dev_alert dev_crit _dev_crit dev_emerg _dev_emerg dev_printk* __dev_printk", named: true},
	{why: "counts references for its caller", names: "refcount_* __refcount_* kref_* ref_tracker_* percpu_ref_* put_device get_device", named: true},
	{why: "works on lists for its caller", names: "list_add* list_del* hlist_add* hlist_del* __hlist_del* __list_add* __list_del* list_move* list_splice* list_replace* __list_splice* klist_*", named: true},
	{why: "works on trees and maps for its caller", names: "rb_* __rb_* xas_start xas_load xas_find* find_lock_entries truncate_inode_pages_range rhashtable_lookup* ida_free", named: true},
	{why: "works on atomics and bits for its caller", names: "atomic_* atomic64_* arch_atomic* raw_atomic* set_bit clear_bit change_bit test_bit test_and_*_bit test_and_*_bit_lock __set_bit __clear_bit _set_bit _clear_bit _test_and_*", named: true},
	{why: "allocates for its caller", names: "*kmalloc* *kzalloc* *kcalloc* kvcalloc* *kvmalloc* *kvzalloc* *vmalloc* *vzalloc* *krealloc* *kvrealloc* *kmem_cache_* alloc_page* *_alloc_page* __alloc_pages* alloc_pages* allocate_slab slab_* __slab_* ___slab_* new_slab* warn_alloc* __alloc_frozen_pages* folio_alloc* filemap_alloc_folio* __filemap_get_folio* find_or_create_page do_read_cache_folio read_cache_page* pagecache_get_page grab_cache_page_write_begin get_page_from_freelist pcpu_alloc* check_object devm_kmalloc* devm_kzalloc*", named: true},
	{why: "frees for its caller", names: "kfree kvfree vfree kfree_sensitive kfree_skb* __kfree_skb folio_unlock cleanup_srcu_struct", named: true},
	{why: "locks a socket for its caller", names: "lock_sock* __lock_sock* release_sock __release_sock", named: true},
	{why: "drops pages of a file for its caller", names: "truncate_cleanup_folio truncate_cleanup_page ifs_free iomap_page_release", named: true},
	{why: "marks a buffer for its caller", names: "mark_buffer_dirty", named: true},
	{why: "panics in Rust for its caller", names: "rust_helper_BUG rust_begin_unwind _RNv*rust_begin_unwind _RNv*4core9panicking* _RNv*4core6option13expect_failed _RNv*4core6option13unwrap_failed _RNv*4core6result13unwrap_failed"},
	{why: "locks a page for its caller", names: "lock_page unlock_page", named: true},
	{why: "drops an inode or dentry for its caller", names: "iput iput_final ihold dput fast_dput drop_nlink", named: true},
	{why: "works on timers for its caller", names: "del_timer* timer_delete* __timer_delete* lock_timer_base __mod_timer mod_timer sk_stop_timer_sync", named: true},
	{why: "works on work items for its caller", names: "flush_work __flush_work flush_workqueue __flush_workqueue drain_workqueue destroy_workqueue cancel_work_sync __cancel_work* try_to_grab_pending insert_work queue_work* queue_delayed_work* __queue_delayed_work kthread_stop", named: true},
	{why: "works on the device tree of sysfs for its caller", names: "kobject_* add_uevent_var get_device_parent device_add device_del device_unregister device_destroy device_release devres_release_all device_for_each_child device_remove_file sysfs_remove* hwrng_unregister i2c_del_adapter __unregister_client tty_unregister_device rollback_registered* unregister_netdev unregister_netdevice*", named: true},
	{why: "hands an URB on for its caller", names: "usb_submit_urb usb_hcd_submit_urb usb_kill_urb usb_kill_anchored_urbs usb_control_msg* dummy_urb_enqueue", named: true},
	{why: "reads or writes a device's register for its caller", names: "readb readw readl readq writeb writew writel writeq __raw_readb __raw_readw __raw_readl __raw_readq __raw_writeb __raw_writew __raw_writel __raw_writeq logic_in* logic_out* ioread8 ioread16 ioread32 iowrite8 iowrite16 iowrite32 __raw_readsl", named: true},
	{why: "computes a checksum for its caller", names: "crc16* crc32* crc_itu_t* crc_ccitt*", named: true},
	{why: "translates an address for its caller", names: "__phys_addr __virt_to_phys __phys_addr_symbol", named: true},
	{why: "is an assertion of a file system", names: "assertfail xfs_assert* asswarn", named: true},
}

// namesLike compiles the names of a title rule, in the form of helper.names.
func namesLike(s string) *patterns {
	return compilePatterns([]helper{{names: s}}, func(helper) bool { return true })
}

// patterns are names with asterisks in a form that is quick to look up. The nil
// value matches nothing.
type patterns struct {
	whole   map[string]bool
	globs   [][]string      // the parts between asterisks of those with one at both ends or inside
	starts  map[string]bool // those with one asterisk, at the end
	lengths []int           // the lengths of starts, ascending
	first   [256]bool       // the first bytes of starts
}

// compilePatterns reads names of the given helpers.
func compilePatterns(list []helper, want func(helper) bool) *patterns {
	p := &patterns{whole: make(map[string]bool), starts: make(map[string]bool)}
	lengths := make(map[int]bool)
	for _, h := range list {
		if !want(h) {
			continue
		}
		for name := range strings.FieldsSeq(h.names) {
			parts := strings.Split(name, "*")
			switch {
			case len(parts) == 1:
				p.whole[name] = true
			case len(parts) == 2 && parts[1] == "":
				p.starts[parts[0]] = true
				lengths[len(parts[0])] = true
				p.first[parts[0][0]] = true
			default:
				p.globs = append(p.globs, parts)
			}
		}
	}
	for n := range 64 {
		if lengths[n] {
			p.lengths = append(p.lengths, n)
		}
	}
	return p
}

// has says whether a pattern matches the whole name.
func (p *patterns) has(fn string) bool {
	if p == nil || fn == "" {
		return false
	}
	if p.whole[fn] {
		return true
	}
	if p.first[fn[0]] {
		for _, n := range p.lengths {
			if n > len(fn) {
				break
			}
			if p.starts[fn[:n]] {
				return true
			}
		}
	}
	for _, parts := range p.globs {
		if globMatches(parts, fn) {
			return true
		}
	}
	return false
}

// globMatches matches a whole name against the parts between asterisks.
func globMatches(parts []string, s string) bool {
	last := len(parts) - 1
	rest, ok := strings.CutPrefix(s, parts[0])
	if !ok || len(rest) < len(parts[last]) || !strings.HasSuffix(rest, parts[last]) {
		return false
	}
	rest = rest[:len(rest)-len(parts[last])]
	for _, part := range parts[1:last] {
		_, after, ok := strings.Cut(rest, part)
		if !ok {
			return false
		}
		rest = after
	}
	return true
}

var (
	allHelpers = compilePatterns(helpers, func(helper) bool { return true })
	// generics say nothing about why a task waits or crashed.
	generics = compilePatterns(helpers, func(h helper) bool { return !h.named })
	// innocents are not to blame even where the instruction pointer is in them.
	innocents = compilePatterns(helpers, func(h helper) bool { return !h.crashes })
)
