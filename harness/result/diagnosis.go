package result

import (
	"fmt"
	"strings"
)

// Compared says how far the guest's memory and the kernel's own task dump
// (sysrq-t) agree. Both show the same hang, one after the other; tasks that ran
// in between are counted separately.
type Compared struct {
	// Tasks is the number of tasks that both show and that can be compared.
	Tasks int `json:"tasks"`
	// Agree is the number of those tasks whose state and stack are the same.
	Agree int `json:"agree"`
	// Frames is the number of stack frames that are the same.
	Frames int `json:"frames"`
	// Owners is the number of locks whose holder is the same in both.
	Owners int `json:"owners,omitempty"`
	// Moved is the number of tasks that ran, started or exited in between.
	Moved int `json:"moved,omitempty"`
	// Differences are the first differences that this does not explain.
	Differences []Difference `json:"differences,omitempty"`
	// More is the number of further differences.
	More int `json:"more,omitempty"`
}

// Difference is one fact on which memory and the printed dump disagree.
type Difference struct {
	// PID is the task's process ID.
	PID int `json:"pid"`
	// Comm is the task's name.
	Comm string `json:"comm"`
	// What is the fact: task, state, stack or owner.
	What string `json:"what"`
	// Memory is what the guest's memory says.
	Memory string `json:"memory"`
	// Printed is what the kernel printed.
	Printed string `json:"printed"`
}

func (d Difference) String() string {
	return fmt.Sprintf("%s of %s (PID %d): %s in memory, %s as printed", d.What, d.Comm, d.PID, d.Memory, d.Printed)
}

// String is the outcome in one line.
func (c *Compared) String() string {
	moved := ""
	if c.Moved > 0 {
		moved = fmt.Sprintf("; %s in between", plural(c.Moved, "task ran, started or exited", "tasks ran, started or exited"))
	}
	if len(c.Differences) == 0 {
		return fmt.Sprintf("memory and sysrq-t agree on %s, %s%s", plural(c.Agree, "task", "tasks"), plural(c.Frames, "frame", "frames"), moved)
	}
	var said []string
	for _, d := range c.Differences[:min(len(c.Differences), 3)] {
		said = append(said, d.String())
	}
	s := fmt.Sprintf("memory and sysrq-t differ (%d of %s agree): %s", c.Agree, plural(c.Tasks, "task", "tasks"), strings.Join(said, "; "))
	if n := len(c.Differences) + c.More - len(said); n > 0 {
		s += fmt.Sprintf("; %d more", n)
	}
	return s + moved
}

// Kind is how the boot ended, or that it did not end.
type Kind string

// The kinds.
const (
	KindHang       Kind = "hang"        // the guest is alive, but the boot makes no progress
	KindPanic      Kind = "panic"       // the kernel panicked
	KindOops       Kind = "oops"        // the kernel crashed and carried on
	KindLockup     Kind = "lockup"      // a CPU spins
	KindRebootLoop Kind = "reboot-loop" // the machine resets again and again
	KindReset      Kind = "reset"       // the machine reset without printing anything
	KindEarlyDeath Kind = "early-death" // the kernel never printed anything
	KindShutdown   Kind = "shutdown"    // user space powered the machine off
	KindHalted     Kind = "halted"      // user space stopped the boot on purpose
	KindBooted     Kind = "booted"      // the boot came to its end
	KindReport     Kind = "report"      // the kernel reported a fault; how the boot ended is not known
	KindUnknown    Kind = "unknown"     // not known
)

// Kinds are all kinds.
var Kinds = []Kind{
	KindHang, KindPanic, KindOops, KindLockup, KindRebootLoop, KindReset, KindEarlyDeath, KindShutdown, KindHalted, KindBooted, KindReport, KindUnknown,
}

// Cause is why the boot ended as it did.
type Cause string

// The causes.
const (
	CauseEntropy        Cause = "entropy-starvation"      // a task waits for the random number generator to be seeded
	CauseRootDevice     Cause = "root-device-missing"     // the root device never appeared
	CauseRootMount      Cause = "root-mount-failed"       // the root file system could not be mounted
	CauseMount          Cause = "mount-stuck"             // a mount does not return
	CauseModule         Cause = "module-load-stuck"       // loading a module does not return
	CauseProbe          Cause = "driver-probe-stuck"      // a driver's probe does not return
	CauseInitcall       Cause = "initcall-stuck"          // an initcall does not return
	CauseMutex          Cause = "mutex"                   // a mutex is not released
	CauseRWSem          Cause = "rwsem"                   // a read-write semaphore is not released
	CauseSemaphore      Cause = "semaphore"               // a semaphore is not released
	CauseDeadlock       Cause = "deadlock"                // tasks wait for each other
	CauseIO             Cause = "io-stuck"                // I/O does not complete
	CauseRCU            Cause = "rcu-grace-period"        // a task waits for an RCU grace period that does not end
	CauseKernelWait     Cause = "kernel-wait"             // a task sleeps in the kernel (state D); nothing more is known
	CauseUserLock       Cause = "user-lock"               // a file lock (flock or fcntl) is not released
	CauseUserService    Cause = "user-service"            // a service, job or program of user space waits
	CauseEmergency      Cause = "emergency-shell"         // the initramfs or systemd dropped to a shell
	CausePassphrase     Cause = "passphrase"              // the boot waits for the passphrase of an encrypted disk
	CauseFsck           Cause = "fs-check-failed"         // fsck found damage and wants a person
	CauseFIPS           Cause = "fips-check-failed"       // the FIPS integrity check of the kernel failed
	CauseSelfTest       Cause = "crypto-self-test-failed" // a self-test of the kernel's crypto code failed
	CauseNoInit         Cause = "init-missing"            // the kernel found no init to run
	CauseInitBad        Cause = "init-not-executable"     // init was found, but the kernel could not execute it
	CauseInitDied       Cause = "init-died"               // PID 1 exited or was killed
	CauseInitramfs      Cause = "initramfs-bad"           // the initramfs could not be unpacked or is not usable
	CausePanic          Cause = "panic"                   // the kernel panicked for another reason
	CauseOops           Cause = "oops"                    // the kernel crashed: a bad access, BUG() or the like
	CauseSoftLockup     Cause = "soft-lockup"             // a CPU ran in the kernel without scheduling
	CauseHardLockup     Cause = "hard-lockup"             // a CPU is stuck with interrupts disabled
	CauseRCUStall       Cause = "rcu-stall"               // the kernel reported an RCU stall
	CauseSpin           Cause = "cpu-spin"                // a CPU runs in the same place all the time
	CauseHungTask       Cause = "hung-task"               // the kernel reported a hung task; nothing more is known
	CauseOOM            Cause = "out-of-memory"           // the guest ran out of memory
	CauseForkBomb       Cause = "fork-bomb"               // one program fills the process table
	CauseRebootLoop     Cause = "reboot-loop"             // the guest resets again and again; the reason is not known
	CauseTripleFault    Cause = "triple-fault"            // the CPU reset, as after a triple fault on x86
	CauseShutdown       Cause = "ordered-shutdown"        // user space powered off or rebooted
	CauseSilent         Cause = "silent-early-death"      // the kernel died before it could print
	CauseFirmware       Cause = "firmware-stopped"        // firmware or a boot loader did not start the kernel
	CauseFlood          Cause = "console-flood"           // the same messages are printed over and over
	CauseWrongConsole   Cause = "console-elsewhere"       // the kernel prints to another console
	CauseSystemdFreezes Cause = "pid1-crashed"            // systemd crashed and froze
	CauseReport         Cause = "kernel-report"           // the kernel reported a fault: a warning, a sanitizer's find
	CauseNone           Cause = "none"                    // nothing points to a failure
	CauseUnknown        Cause = "unknown"                 // not known
)

// Where is the component that is at fault, as far as is known.
type Where string

// The components.
const (
	WhereFirmware  Where = "firmware"  // BIOS, UEFI or boot loader
	WhereKernel    Where = "kernel"    // the kernel or one of its modules
	WhereInitramfs Where = "initramfs" // the initramfs, or what made it
	WhereUserspace Where = "userspace" // user space on the root file system, or init
	WhereHarness   Where = "harness"   // how the guest was set up: command line, devices
	WhereHost      Where = "host"      // the machine that runs QEMU
	WhereUnknown   Where = "unknown"   // not known
)

// Confidence is how sure an answer is.
type Confidence string

// The levels of confidence.
const (
	Certain  Confidence = "certain"  // the log, QEMU or memory says so explicitly
	Likely   Confidence = "likely"   // the facts fit, but other answers are not ruled out
	Possible Confidence = "possible" // only silence supports it
	Unknown  Confidence = "unknown"  // nothing is known
)

// Blocked is the task that blocks the boot.
type Blocked struct {
	// Comm is the task's name.
	Comm string `json:"comm"`
	// PID is the task's process ID.
	PID int `json:"pid"`
	// State is the kernel's letter for the task's state: R, S, D, I, Z, T, ...
	State string `json:"state"`
}

// Link is one step of the wait chain: a task that waits for the next one.
type Link struct {
	// Comm is the task's name.
	Comm string `json:"comm"`
	// PID is the task's process ID.
	PID int `json:"pid"`
	// State is the kernel's letter for the task's state: R, S, D, I, Z, T, ...
	State string `json:"state"`
	// Waits is the kind of wait: wait4, epoll, mutex, getrandom, ...
	Waits string `json:"waits"`
	// Func is the kernel function that says most about the wait.
	Func string `json:"func,omitempty"`
	// Syscall is the name of the system call, empty in a kernel thread.
	Syscall string `json:"syscall,omitempty"`
	// Why says in words what the task waits for.
	Why string `json:"why,omitempty"`
	// Object is the kind and name of what the task waits for, such as "flock
	// /run/x.lock", if the guest's memory shows it.
	Object string `json:"object,omitempty"`
	// Source is where the task and its stack were read, as in Evidence.
	Source string `json:"source,omitempty"`
}

// Evidence is an observation that a diagnosis rests on.
type Evidence struct {
	// What says what the evidence shows.
	What string `json:"what"`
	// Lines are the text as printed. It is safe to show, but keeps its tabs.
	Lines []string `json:"lines,omitempty"`
	// Offset is where the lines begin in the log, in bytes; -1 if they are not
	// from the log.
	Offset int64 `json:"offset"`
	// Source is where it was observed: console, sysrq-t, sysrq-w, memory,
	// registers, agent or qmp.
	Source string `json:"source"`
}

// Diagnosis says where the boot is blocked and why. Its texts are safe to show
// whatever the guest printed: valid UTF-8, bounded, without control or invisible
// characters.
type Diagnosis struct {
	// Kind is how the boot ended, or that it did not end.
	Kind Kind `json:"kind"`
	// Cause is why.
	Cause Cause `json:"cause"`
	// Title is one line that is the same in every boot: no addresses, process IDs
	// or times. Titles of the kernel's own reports are those of syzbot.
	Title string `json:"title"`
	// Signature identifies the failure for de-duplication: kind, cause and what
	// the title names, at most 160 letters, digits and "-._/". It is the same on
	// every architecture and in every build, as long as the kernel's functions
	// keep their names.
	Signature string `json:"signature,omitempty"`
	// Summary is one sentence in plain words.
	Summary string `json:"summary"`
	// Task is the task that blocks the boot, nil if none is known.
	Task *Blocked `json:"task,omitempty"`
	// Chain is the wait chain from PID 1 to Task, and on to the tasks that hold
	// what Task waits for in user space, if the guest's memory shows them.
	Chain []Link `json:"chain,omitempty"`
	// Function is the kernel function that Task is blocked in.
	Function string `json:"function,omitempty"`
	// Syscall is the system call that Task is blocked in.
	Syscall string `json:"syscall,omitempty"`
	// Remedy is what to do about it.
	Remedy string `json:"remedy,omitempty"`
	// Where is the component that is at fault.
	Where Where `json:"where"`
	// Stage is the last stage of the boot that the console shows.
	Stage string `json:"stage"`
	// Evidence are the observations that the diagnosis rests on.
	Evidence []Evidence `json:"evidence,omitempty"`
	// Confidence is how sure the cause is.
	Confidence Confidence `json:"confidence"`
	// Notes are doubts and side facts: other candidates, a torn dump.
	Notes []string `json:"notes,omitempty"`
	// References are upstream commits and documents.
	References []string `json:"references,omitempty"`
	// Again are arguments of the kernel with which another boot would tell more; empty
	// where none are known.
	Again []string `json:"again,omitempty"`
	// Compared says how far memory and the printed dump agree; nil if one of them
	// is missing.
	Compared *Compared `json:"compared,omitempty"`
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
