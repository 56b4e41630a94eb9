package dump

import (
	"strings"

	"github.com/unwedge/unwedge/harness/internal/model"
)

// stallAnchors are functions that hand work on: a system call, a work item, a
// softirq, a timer, an operation of a file or socket. What they call is the whole of
// the work, which stays the same while the function that a stall is seen in varies.
var stallAnchors = namesLike(`
*process_one_work* *do_syscall_* *do_fast_syscall_* *sysenter_dispatch* *tracesys_phase2* *el0_svc_handler* *invoke_syscall* ret_fast_syscall
*netif_receive_skb* *do_softirq* *call_timer_fn* *_run_timers* *run_timer_softirq* *hrtimer_run* *run_ksoftirqd* *smpboot_thread_fn*
start_secondary cpu_startup_entry *smp_call_function* *tasklet_action* *tasklet_hi_action*
*vfs_write* *vfs_read* *vfs_iter_read* *vfs_iter_write* *do_iter_read* *do_iter_write* *call_read_iter* *call_write_iter* *new_sync_read* *new_sync_write*
*vfs_ioctl* *compat_ioctl* *compat_sys_ioctl* *blkdev_driver_ioctl* *blkdev_ioctl* call_mmap* *mmap_region* *do_mmap* *do_dentry_open* *vfs_open*
sock_sendmsg* sock_recvmsg* sock_release* __sock_release* setsockopt kernel_setsockopt sock_common_setsockopt listen kernel_listen
sk_common_release sock_mmap* accept kernel_accept sock_do_ioctl* sock_ioctl* compat_sock_ioctl* nfnetlink_rcv_msg* rtnetlink_rcv_msg* netlink_dump*
socketpair* connect* ioctl* sys_socketpair* sys_connect* sys_ioctl*
*__do_fault* *do_page_fault* page_fault *__fput* *task_work_run* *exit_to_usermode*`)

// bootWork starts the kernel's own work of a boot, or a thread of the kernel. All initcalls and probes would be
// one if they were named by what handed them on, and so would all that PID 1 asks
// for: there the innermost is named.
var bootWork = namesLike("kthread ret_from_fork* do_one_initcall do_initcalls kernel_init_freeable start_kernel really_probe __driver_probe_device driver_probe_device deferred_probe_work_func async_run_entry_fn do_init_module")

// stallHelpers belong to RCU and the timer that noticed the stall.
var stallHelpers = namesLike("*apic_timer_interrupt* rcu_* __rcu_* *_rcu *_rcu_* *_rcu_*")

// consoles print what the detector in the timer's interrupt says.
var consoles = namesLike("*_console_write console_unlock console_flush_all vprintk_emit wait_for_xmitr")

// irqEntries are the outermost functions of an interrupt, above what it interrupted.
var irqEntries = namesLike("asm_sysvec_* asm_common_interrupt asm_exc_nmi apic_timer_interrupt smp_apic_timer_interrupt common_interrupt ret_from_intr el1_irq el1h_64_irq __irq_svc call_on_irq_stack timer_interrupt_common* decrementer_common* asm_call_*_on_stack")

// stallFunc names the function of a CPU that is stuck or of a stack that ran over:
// what syzbot calls the representative function, see stallAnchors; for the work of
// the boot itself the innermost.
func stallFunc(r *Report, ip string) string {
	chain := stalledChain(r, ip)
	if fn := sleepsInIRQ(r, chain); fn != "" {
		return fn
	}
	inner, prev := "", ""
	for _, fn := range chain {
		if bootWork.has(fn) {
			break
		}
		name := entryName(fn)
		if r.PID != 1 && stallAnchors.has(name) {
			switch {
			case strings.Contains(name, "smp_call_function"):
				return "smp_call_function"
			case prev == "":
				return name
			}
			return prev
		}
		if innocents.has(fn) || stallHelpers.has(fn) {
			continue
		}
		if inner == "" && !allHelpers.has(fn) {
			inner = PlainName(fn)
		}
		prev = name
	}
	return orElse(inner, PlainName(r.Func))
}

// sleepsInIRQ names the function that sleeps in an interrupt, "" for none: the idle
// task that runs then is interrupted in turn, until the stack is full (what a
// "corrupted stack end" of the scheduler may show).
func sleepsInIRQ(r *Report, chain []string) string {
	if r.Kind != ReportPanic {
		return ""
	}
	slept, inner := false, ""
	for _, fn := range chain {
		switch {
		case irqEntries.has(fn):
			return inner
		case fn == "schedule" || fn == "schedule_timeout":
			slept = true
		case slept && inner == "" && !allHelpers.has(fn):
			inner = PlainName(fn)
		}
	}
	return ""
}

// stalledChain is the call chain of what a CPU was doing, innermost first, without
// the interrupt that looked; on the stack that ran over in it, all of it.
func stalledChain(r *Report, ip string) []string {
	frames := model.Trusted(r.Frames)
	start := 0
	if r.Kind != ReportPanic && r.Kind != ReportBug && r.Kind != ReportOops {
		// Above the interrupt that looked stand only the detector's functions. What it
		// interrupted may have interrupted something else in turn.
		work, ticks, prints := false, false, false
		for i, f := range frames {
			b := f.Base()
			if !irqEntries.has(b) {
				work = work || !allHelpers.has(b) && !stallHelpers.has(b)
				ticks = ticks || b == "hrtimer_interrupt" || b == "update_process_times"
				prints = prints || consoles.has(b)
				continue
			}
			if work && !(ticks && prints) {
				break
			}
			if work {
				ip = "" // where the detector prints
			}
			start, work, ticks, prints = i+1, false, false, false
		}
		if start == len(frames) {
			start = 0
		}
	}
	var chain []string
	if b := model.BaseName(ip); b != "" && (start > 0 || len(frames) == 0 || frames[0].Base() != b) {
		chain = append(chain, b)
	}
	for _, f := range frames[start:] {
		if !pastEnd(f) {
			chain = append(chain, f.Base())
		}
	}
	return chain
}

// entryName is a function without suffixes and without one prefix that the kernel's
// macros put before a system call, as syzbot names it: __x64_sys_read is sys_read,
// __do_sys_read is read.
func entryName(fn string) string {
	best := model.BaseName(fn)
	whole := best
	for _, p := range []string{
		"SYSC_", "SyS_", "sys_", "__x64_", "__ia32_", "__arm64_", "____sys_", "___sys_", "__sys_", "__se_", "__se_sys_", "__do_sys_", "compat_SYSC_", "compat_SyS_", "ksys_",
	} {
		if rest, ok := strings.CutPrefix(whole, p); ok && rest != "" && len(rest) < len(best) {
			best = rest
		}
	}
	return best
}

// stallTitle is the title of an RCU stall. If all CPUs have passed a quiescent state
// and only RCU's kthread lacked the CPU, who kept it is the answer.
func stallTitle(r *Report, ip string) string {
	if r.Starved == "" {
		return inFunc("INFO: rcu detected stall", stallFunc(r, ip))
	}
	title := "INFO: " + r.Starved + " kthread starved"
	if r.Comm != "" && r.Func != "" {
		return title + ": " + r.Comm + " ran in " + r.Func
	}
	return title
}

// cfiOf names the caller whose indirect call failed, and its target:
//
//	CFI failure (target: fn+0x0/0x8):                                     5.x, Android
//	CFI failure at fn+0x48/0x90 (target: gn+0x0/0x8; expected type: 0x...)   6.1
func cfiOf(r *Report, text, ip string) string {
	caller := orElse(symbolAfter(text, "failure at "), blame(r, ip, nil))
	if target := symbolAfter(text, "(target: "); target != "" {
		return strings.TrimSpace(caller + " (target " + target + ")")
	}
	return caller
}
