// Package dump turns console text into structure: printk records, the tasks of
// a sysrq dump with their stacks, kernel reports (oops, panic, lockup, ...) and
// the milestones of a boot.
//
// It is pure: bytes in, values out, no I/O and no clock. It reads hostile text,
// so every list has a limit and the work grows linearly with the input. Damaged
// text never makes it fail; it only makes it say less.
//
// The formats and the kernel versions that brought them are told beside each
// parser. None of the functions is safe for concurrent use on one value;
// different values are independent.
package dump
