package bisect

import (
	"regexp"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/result"
)

// A CPU that runs round a loop is met in one function of it at one boot and in
// another at the next, and the failure is named by that. So of these causes the way
// there is compared too.
var sampled = []string{
	string(result.CauseSpin), string(result.CauseSoftLockup), string(result.CauseHardLockup), string(result.CauseRCUStall),
}

// stackOf are the functions of what a Diagnosis says runs, innermost first; none
// where the cause is no sampled one.
func stackOf(d *result.Diagnosis) []string {
	if !slices.Contains(sampled, string(d.Cause)) {
		return nil
	}
	var out []string
	if d.Function != "" {
		out = append(out, dump.PlainName(d.Function))
	}
	for _, e := range d.Evidence {
		var frames []string
		for _, l := range e.Lines {
			if m := frameRE.FindStringSubmatch(l); m != nil {
				frames = append(frames, dump.PlainName(m[1]))
			}
		}
		if len(frames) > 0 {
			return append(out, frames...)
		}
	}
	return out
}

// metIn are the functions that busy CPUs were met in during the stall that a boot
// ended in, where its cause is a sampled one.
func metIn(r *result.Result) []string {
	if len(r.Stalls) == 0 || !slices.Contains(sampled, string(r.Diagnosis.Cause)) {
		return nil
	}
	var out []string
	for _, s := range r.Stalls[len(r.Stalls)-1].Registers {
		fn, _, _ := strings.Cut(s.Symbol, "+")
		if fn = dump.PlainName(fn); fn != "" && !s.Halted && !slices.Contains(out, fn) {
			out = append(out, fn)
		}
	}
	return out
}

// frameRE is a frame that is certain, with or without a time before it.
var frameRE = regexp.MustCompile(`^(?:\[[^]]*\])?\s+([A-Za-z_][\w.]*)\+0x[0-9a-f]+/0x[0-9a-f]+`)

// sameLoop says that two boots were met in the same loop: they came there by the
// same way, as far as that says anything, or one was met on the other's way or in
// another of the places where the other was met.
func sameLoop(a, b Boot) bool {
	if a.Cause != b.Cause || len(a.Stack) == 0 || len(b.Stack) == 0 {
		return false
	}
	for _, pair := range [][2]Boot{{a, b}, {b, a}} {
		if at := pair[0].Stack[0]; !plumbing(at) && (slices.Contains(pair[1].Stack, at) || slices.Contains(pair[1].Met, at)) {
			return true
		}
	}
	for i := 1; i <= min(len(a.Stack), len(b.Stack)); i++ {
		fn := a.Stack[len(a.Stack)-i]
		if fn != b.Stack[len(b.Stack)-i] {
			return false
		}
		if !plumbing(fn) {
			return true
		}
	}
	return false
}

// plumbing says that a function is on the way to very many others: of start-up, of
// threads, of system calls, of modules and of the driver core.
func plumbing(fn string) bool {
	return dump.IsGeneric(fn) || plumbingRE.MatchString(fn)
}

var plumbingRE = regexp.MustCompile(`^(?:do_one_initcall|do_initcalls?(?:_level)?|do_basic_setup|kernel_init(?:_freeable)?|(?:arch_call_)?rest_init|start_kernel|x86_64_start_\w+|secondary_startup_64\w*|__primary_switched|common_startup_64` +
	`|ret_from_fork\w*|kthread|worker_thread|process_one_work|process_scheduled_works|async_run_entry_fn|cpu_startup_entry|do_idle|smpboot_thread_fn` +
	`|do_syscall_64|x64_sys_call|entry_SYSCALL_64\w*|invoke_syscall\w*|(?:do_)?el0\w*|__(?:x64|arm64|se|do)_sys_\w+|ksys_\w+|vfs_\w+` +
	`|do_init_module|load_module|init_module_from_file|idempotent_init_module` +
	`|(?:__)?(?:driver|device|bus|platform|deferred)_\w+|call_driver_probe|really_probe|vectors)$`)
