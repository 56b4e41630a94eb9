package diagnose

import (
	"slices"

	"github.com/unwedge/unwedge/harness/internal/notice"
	"github.com/unwedge/unwedge/harness/result"
)

// table is tried from top to bottom, and the first rule that fires is the
// answer: a rule stands before those whose facts are a consequence of its own.
func table() []section {
	return []section{
		{"The boot is over", "The kernel or PID 1 gave up and said so. Nothing that was seen before outweighs it, and nothing comes after it.", []rule{
			{"before the kernel", famFatal, noticed(notice.BeforeKernel),
				"QEMU, the firmware or a boot loader says why it starts no kernel: an exception, a prompt, nothing to boot, Secure Boot", beforeKernel},
			// dracut halts the machine by itself, so the kernel's panic that
			// may follow is a consequence.
			{"fips check", famFatal, []result.Cause{result.CauseFIPS},
				"dracut's FIPS check fails and halts the boot on purpose", fipsCheck},
			// Panics whose reason names the cause.
			{"crypto self-test", famFatal, []result.Cause{result.CauseSelfTest},
				"the kernel panics because a crypto self-test failed in FIPS mode", selfTest},
			{"init gave up", famFatal, []result.Cause{result.CauseRootDevice},
				"PID 1 of an initramfs said why it goes no further, and ended; the cause is what it said", initGaveUp},
			{"init missing or dead", famFatal, []result.Cause{result.CauseNoInit, result.CauseInitBad, result.CauseInitDied},
				"the kernel panics because it found no init, could not execute it, or because init ended", initDied},
			{"root file system", famFatal, []result.Cause{result.CauseRootMount, result.CauseInitramfs, result.CauseNoInit},
				"the kernel panics because it cannot mount the root file system: no device, no driver, a broken initramfs, or one without init", rootMount},
			{"out of memory", famFatal, []result.Cause{result.CauseOOM},
				"the kernel panics because it has no memory left", outOfMemory},
			// Where the last boot panicked for one of the reasons above, that
			// is the answer. The panics below say less than that the machine
			// goes round.
			{"reboot loop", famFatal, []result.Cause{result.CauseRebootLoop, result.CauseTripleFault},
				"the machine resets again and again; after panics, the cause is that of the panic", rebootLoop},
			// Panics that a report of the kernel led to.
			{"lockup panic", famFatal, []result.Cause{result.CauseSoftLockup, result.CauseHardLockup, result.CauseRCUStall},
				"a lockup detector panics the kernel", lockupPanic},
			{"hung-task panic", famFatal, []result.Cause{result.CauseHungTask, result.CauseMutex, result.CauseRWSem, result.CauseSemaphore, result.CauseIO, result.CauseRCU},
				"khungtaskd panics the kernel; the cause is what the task waits for, where its stack shows it", hungTaskPanic},
			{"panic on a report", famFatal, []result.Cause{result.CauseOops, result.CauseReport},
				"the kernel panics because of a report of its own: a crash, or a warning with panic_on_warn", reportPanic},
			{"panic", famFatal, []result.Cause{result.CausePanic},
				"the kernel panics for any other reason", plainPanic},
			// User space gave up, while the kernel runs on.
			{"dracut gave up", famFatal, []result.Cause{result.CauseEmergency},
				"dracut hits a fatal error and halts the boot", dracutFatal},
			{"systemd crashed", famFatal, []result.Cause{result.CauseSystemdFreezes},
				"systemd, as PID 1, crashes and freezes", pid1Crashed},
		}},
		{"Plain from the tasks alone", "The tasks prove these by themselves. What the kernel reported on the way is a note, and a doubt, but not the answer.", []rule{
			{"fork bomb", famFatal, []result.Cause{result.CauseForkBomb},
				"one program fills the process table", forkBomb},
			{"entropy", famHang, []result.Cause{result.CauseEntropy},
				"the boot waits for the random number generator to be seeded", entropy},
		}},
		{"The kernel's own reports", "Tasks that wait for what a crashed or spinning task holds are a consequence. Crashes come first: others may spin for a lock that a crashed task held.", []rule{
			{"early exception", famCrash, []result.Cause{result.CauseOops},
				"the kernel hits an exception before it has handlers, and halts", earlyException},
			{"oops", famCrash, []result.Cause{result.CauseOops},
				"the kernel crashes in a task and goes on without it", oops},
			{"lockup", famLockup, []result.Cause{result.CauseHardLockup, result.CauseSoftLockup, result.CauseRCUStall},
				"a lockup detector reports a CPU, and the boot goes no further", lockup},
			// A flood keeps a CPU busy, so it comes before the busy CPU, and a task
			// that waits for it or for the console.
			{"console flood", famLockup, []result.Cause{result.CauseFlood},
				"the guest prints the same lines over and over", consoleFlood},
			// A lockup, before any detector has fired.
			{"running task", famLockup, []result.Cause{result.CauseSpin, result.CauseOops},
				"a vCPU is busy in the kernel, and memory shows the task that runs there", runaway},
		}},
		{"Who blocks whom", "The end of the wait chain from PID 1. A lock comes before what its owner waits for, unless the owner is stuck in a module, a probe, a mount or I/O: the next section names those.", []rule{
			{"deadlock", famHang, []result.Cause{result.CauseDeadlock},
				"tasks wait for locks of each other, or one for a lock it holds", deadlock},
			{"lock", famHang, []result.Cause{result.CauseMutex, result.CauseRWSem, result.CauseSemaphore},
				"the boot waits for a mutex, rwsem or semaphore, with its owner where the kernel or memory names it", lockWait},
			{"kthreadd", famHang, []result.Cause{result.CauseKernelWait},
				"a task waits for a new thread of the kernel, and kthreadd was not woken to create it", kthreaddAsleep},
			{"CPU kept", famHang, []result.Cause{result.CauseSpin},
				"the task that the boot waits for runs in one kernel function every time, or another keeps it from its CPU", keepsCPU},
		}},
		{"Devices and the kernel", "No lock explains the wait. The larger operation comes before the sleep inside it: a probe that sleeps is a stuck probe.", []rule{
			{"module or probe", famHang, []result.Cause{result.CauseModule, result.CauseProbe},
				"a module's init or a driver's probe does not return", moduleLoad},
			{"mount", famHang, []result.Cause{result.CauseMount},
				"a mount does not return", mountStuck},
			// What the guest says in words comes before what it waits for.
			{"said why", famHang, noticed(notice.EarlyUser),
				"the initramfs, systemd or the kernel says why the boot stops: a passphrase, fsck, a ZFS pool, the NFS root, no init on the root file system", saidWhy},
			{"root device", famHang, []result.Cause{result.CauseRootDevice},
				"the kernel, the initramfs or systemd waits for a device that never appears", rootDevice},
			{"initcall", famHang, []result.Cause{result.CauseInitcall},
				"an initcall does not return", initcall},
			{"io and other kernel waits", famHang, []result.Cause{result.CauseIO, result.CauseRCU, result.CauseModule, result.CauseProbe, result.CauseKernelWait},
				"the task that the boot waits for sleeps in the kernel: for a block device, an RCU grace period, a helper program, a work item, or something that is not known", kernelWait},
		}},
		{"User space", "The kernel has done its part.", []rule{
			// An emergency shell waits as any program does, so what it says
			// comes before how it waits.
			{"root file system, last words", famHang, []result.Cause{result.CauseRootDevice, result.CauseRootMount, result.CauseFsck},
				"the initramfs could not mount the root file system", saidLast},
			{"emergency", famConsole, []result.Cause{result.CauseEmergency},
				"user space gave up and offers an emergency shell", emergency},
			{"shell for init", famHang, []result.Cause{result.CauseNoInit, result.CauseInitBad},
				"init could not be run, and a shell waits in its place", shellInstead},
			{"user space", famHang, []result.Cause{result.CauseUserService, result.CauseUserLock, result.CauseSpin},
				"a program or service waits for something in user space (a file lock, a pipe, a socket, a child, a timer), or spins", userWait},
		}},
		{"Named by a report", "No stack explains the hang, but khungtaskd or systemd named a task or job that waits.", []rule{
			{"hung task", famHang, []result.Cause{result.CauseHungTask, result.CauseMutex, result.CauseRWSem, result.CauseSemaphore, result.CauseIO, result.CauseRCU},
				"khungtaskd reports a task; the cause is what the task waits for, where its stack shows it", hungTask},
			{"start job", famConsole, []result.Cause{result.CauseUserService},
				"systemd says which start job it waits for", startJob},
		}},
		{"How it ended", "Nothing above explains why, but the ending is known.", []rule{
			{"one reset", famEnding, []result.Cause{result.CauseTripleFault},
				"the machine reset once, and nothing in the boot after it explains why", oneReset},
			{"ordered shutdown", famEnding, []result.Cause{result.CauseShutdown},
				"the guest powered off or rebooted cleanly before the boot completed", orderedShutdown},
			{"triple fault", famEnding, []result.Cause{result.CauseTripleFault},
				"the machine reset, and the console shows no reason", tripleFault},
		}},
		{"Last resorts", "Only the console's last lines and the registers are left. The more they say, the earlier the rule.", []rule{
			{"CPU model", famEnding, []result.Cause{result.CauseSilent},
				"the kernel stopped before its first line, where it stops on a CPU that lacks what it needs", parked},
			{"spinning vCPU", famEnding, []result.Cause{result.CauseSpin, result.CauseSilent},
				"a vCPU is busy in one kernel function every time, and no task dump shows whose it is", spinning},
			{"silent", famEnding, []result.Cause{result.CauseSilent, result.CauseWrongConsole, result.CauseUnknown},
				"the kernel printed nothing, or only its first lines: it died early, the firmware did not start it, or it prints to another console", silent},
			{"console handed over", famEnding, []result.Cause{result.CauseWrongConsole},
				"the kernel turned its boot console off and prints to another one", handedOver},
			{"start-up sleeps", famEnding, []result.Cause{result.CauseKernelWait},
				"every vCPU idles before /init was started", startUpSleeps},
			{"failed unit", famNone, []result.Cause{result.CauseUserService},
				"the log ends before the boot does, and a unit of systemd had failed", failedUnit},
			{"booted", famNone, []result.Cause{result.CauseNone, result.CauseReport, result.CauseOops},
				"the boot completed; a fault that the kernel reported on the way is the headline", booted},
			{"report", famNone, []result.Cause{result.CauseReport},
				"the kernel reported a fault, and the log does not show how the boot ended", excerpt},
			{"unknown", famNone, []result.Cause{result.CauseUnknown},
				"the facts do not say why", unknown},
		}},
	}
}

// noticed are the causes that the notices of a phase can give by themselves.
func noticed(phase notice.Phase) (out []result.Cause) {
	for _, n := range notice.All() {
		if n.Phase == phase && n.Cause != "" && n.Role != notice.Consequence && !slices.Contains(out, n.Cause) {
			out = append(out, n.Cause)
		}
	}
	return out
}
