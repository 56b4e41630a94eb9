// Package dump turns console text into structure: printk records, the tasks of
// a sysrq dump with their stacks, kernel reports (oops, panic, lockup, ...) and
// the milestones of a boot.
//
// It is pure: bytes in, values out, no I/O and no clock. The text is hostile:
// every list has a limit and the work is linear in the input. Damaged text never
// makes it fail; it only finds less.
//
// # Titles
//
// A kernel report has the title that syzbot gives it, so that one can look it
// up: "general protection fault in X", "possible deadlock in X", "INFO: task hung
// in X". X is the function to blame (see blame), not one that counts references,
// copies, locks or prints for its caller (see helpers). Report.Func is X, but of a
// hung task the innermost function that means something. These titles differ on
// purpose:
//
//   - "BUG: soft lockup in X" and "INFO: rcu detected stall in X" name, as syzbot
//     does, the system call or the operation that a task is in, but for PID 1, for
//     initcalls, probes and threads of the kernel the function that loops: all work
//     of a boot would have one name otherwise.
//   - "INFO: rcu_preempt kthread starved: COMM ran in X" is a stall in which all CPUs
//     have passed a quiescent state, and RCU's thread gets no CPU to notice.
//   - "WARNING: CFI failure in X (target Y)" names both ends of the call.
//   - "BUG: hard lockup in X" does not exist in syzbot.
//   - "kernel panic: Attempted to kill init! exitcode=0x..." keeps the code: it
//     tells a missing loader from a crash.
//   - "INFO: task hung in X" also skips msleep and the like. No title names the
//     code that starts initcalls, work items and threads.
//   - "BUG: Bad page state" and "BUG: Bad page cache" name no function where
//     CONFIG_PAGE_OWNER does not show who allocated the page.
//   - "KCSAN: data-race in A / B" has no compiler suffixes (.isra.0).
//   - "INFO: task hung in X" and the like name a system call without what the
//     architecture puts before it ("read", not "sys_read").
//   - A function that ends in a call that does not return is named itself, not the one
//     that follows it in memory, whose first byte is the return address.
//   - Of a workqueue lockup that shows no worker, Func is the work item in flight.
//   - "SError Interrupt in X", "Bad mode in X", "out of memory" and
//     "reboot: ..." are not syzbot's. A second kernel banner ("unexpected kernel
//     reboot") is not a report here: package diagnose says why the machine
//     started again.
//
// Each parser's comment has the formats and the kernel versions that introduced
// them. No value is safe for concurrent use.
package dump
