package dump

import (
	"strings"

	"github.com/unwedge/unwedge/harness/internal/model"
)

// blame picks the function for a title: the instruction pointer's, or the
// innermost of the chain that may be to blame. If the stack reaches the code that
// starts initcalls, work items or system calls first, it is the report's Func.
func blame(r *Report, ip string, skip *patterns) string {
	if b := model.BaseName(ip); b != "" && !skip.has(b) && (!allHelpers.has(b) || r.crashed() && !innocents.has(b)) {
		return PlainName(b)
	}
	for _, f := range model.Trusted(r.Frames) {
		b := f.Base()
		if isAnchor(b) {
			break
		}
		if !skip.has(b) && !allHelpers.has(b) && !pastEnd(f) {
			return PlainName(b)
		}
	}
	if skip.has(model.BaseName(r.Func)) {
		return ""
	}
	return PlainName(r.Func)
}

// crashed says that the instruction pointer is where it happened, not what a
// detector interrupted.
func (r *Report) crashed() bool {
	return r.Kind == ReportOops || r.Kind == ReportWarning || r.Kind == ReportBug || r.Kind == ReportKASAN
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
