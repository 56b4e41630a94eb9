// Package dump turns console text into structure: printk records, the tasks of
// a sysrq dump with their stacks, kernel reports (oops, panic, lockup, ...) and
// the milestones of a boot.
//
// It is pure: bytes in, values out, no I/O and no clock. It reads hostile text,
// so every list has a limit and the work grows linearly with the input. Damaged
// text never makes it fail; it only makes it say less.
//
// # Titles
//
// The title of a kernel report is the one that syzbot gives it, so that one can
// be looked up: "general protection fault in X", "possible deadlock in X",
// "INFO: task hung in X". X is the function to blame, see blame: not the one
// that counts references, copies, locks or prints for its caller. Report.Func
// may be another: it is the innermost function that means something, the place.
// On purpose these differ:
//
//   - "BUG: soft lockup in X" and "INFO: rcu detected stall in X" name the
//     function that loops. syzbot goes out to the one that a system call, work
//     item or thread begins with, which for a boot would always be kernel_init.
//   - "BUG: hard lockup in X": syzbot has no such title.
//   - "kernel panic: Attempted to kill init! exitcode=0x..." keeps the code: it
//     tells a missing loader from a crash.
//   - "INFO: task hung in X" passes over msleep and its kind as well, and
//     neither this nor another title goes out beyond the code that starts
//     initcalls, work items and threads.
//   - "BUG: Bad page state" and "BUG: Bad page cache" name no function: without
//     CONFIG_PAGE_OWNER the report has none that is to blame.
//   - "KCSAN: data-race in A / B" has no compiler suffixes (.isra.0).
//   - "SError Interrupt in X", "Bad mode in X", "out of memory" and
//     "reboot: ..." are not titles of syzbot. A second kernel banner is no
//     report here ("unexpected kernel reboot"): package diagnose says why the
//     machine started again.
//
// The formats and the kernel versions that brought them are told beside each
// parser. None of the functions is safe for concurrent use on one value;
// different values are independent.
package dump
