package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// faults are the ways a user space can stop or misbehave, asked for on the
// kernel command line as unwedge.fault=NAME[:ARG][,NAME…] (before the boot
// counts as done) or unwedge.then=… (after). They exist so that tests can
// prove that each is noticed and named.
var faults = map[string]func(arg string){
	"getrandom":   func(string) { blockInGetrandom() },
	"urandom":     func(string) { readFile("/dev/random") },
	"flock":       func(string) { blockInFlock() },
	"futex":       func(string) { blockInFutex() },
	"forkbomb":    func(string) { forkBomb() },
	"fsck":        func(arg string) { check(arg) },
	"pipe":        func(string) { blockInPipe() },
	"wait":        func(string) { waitForStoppedChild() },
	"sleep":       func(arg string) { sleepFor(arg) },
	"alarm":       func(arg string) { waitForAlarm(arg) },
	"rtc":         func(arg string) { waitForClock(arg) },
	"spin":        func(string) { spin() },
	"exit":        func(string) { os.Exit(0) },
	"segv":        func(string) { segv() },
	"flood":       func(arg string) { flood(arg, func(uint64) string { return "flood" }) },
	"list":        func(arg string) { flood(arg, letters) },
	"escape":      func(string) { escapes() },
	"sysrq":       func(arg string) { sysrq(arg) },
	"reboot":      func(string) { _ = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART) },
	"halt":        func(string) { _ = unix.Reboot(unix.LINUX_REBOOT_CMD_HALT) },
	"poweroff":    func(string) { _ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF) },
	"child":       func(arg string) { inChild(arg) },
	"oom":         func(string) { eatMemory() },
	"dmesg":       func(string) { dumpLog() },
	"nosysrq":     func(string) { _ = os.WriteFile("/proc/sys/kernel/sysrq", []byte("0"), 0) },
	"module":      func(arg string) { insertFault(arg) },
	"witness":     func(string) { bearWitness() },
	"testify":     func(string) { testify() },
	"hungtaskpan": func(string) { _ = os.WriteFile("/proc/sys/kernel/hung_task_panic", []byte("1"), 0) },
}

func runFault(spec string) {
	name, arg, _ := strings.Cut(spec, ":")
	f, ok := faults[name]
	if !ok {
		f, ok = waits[name]
	}
	if !ok {
		fmt.Printf("unwedge agent: unknown fault %q\n", name)
		return
	}
	f(arg)
}

func blockInGetrandom() {
	if err := getrandom(make([]byte, 16), 0); err != nil {
		fmt.Println("unwedge agent: getrandom:", err)
	}
}

func readFile(path string) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	_, _ = f.Read(make([]byte, 16))
}

// blockInFlock asks for a lock that another open file already holds.
func blockInFlock() {
	for range 2 {
		fd, err := unix.Open("/tmp/lock", unix.O_CREAT|unix.O_RDWR, 0o600)
		if err != nil {
			return
		}
		_ = unix.Flock(fd, unix.LOCK_EX)
	}
}

// blockInFutex waits for a mutex in shared memory that is taken and never given
// back: futex(2), FUTEX_WAIT while the word is 1.
func blockInFutex() {
	mem, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		fmt.Println("unwedge agent: share memory:", err)
		return
	}
	const wait, taken = 0, 1
	binary.NativeEndian.PutUint32(mem, taken)
	for {
		_, _, _ = unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(&mem[0])), wait, taken, 0, 0, 0)
	}
}

// forkBomb forks for ever, and so does each child. A child of a program with
// threads has only the one that forked, so nothing of Go's may be used in it
// but plain system calls.
func forkBomb() {
	for {
		_, _, _ = unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	}
}

// check works for a while, 20 s if arg is empty, and says every two seconds how
// far it is, as a check of a file system does: a second of computing and a
// second of waiting in turn.
func check(arg string) {
	d, err := time.ParseDuration(arg)
	if err != nil {
		d = 20 * time.Second
	}
	start := time.Now()
	for {
		done := time.Since(start)
		if done >= d {
			fmt.Println("fsck: clean")
			return
		}
		fmt.Printf("fsck: %.1f%% complete\n", 100*done.Seconds()/d.Seconds())
		for busy := time.Now(); time.Since(busy) < time.Second; {
			runtime.KeepAlive(nil)
		}
		time.Sleep(time.Second)
	}
}

func blockInPipe() {
	var p [2]int
	if unix.Pipe(p[:]) == nil {
		_, _ = unix.Read(p[0], make([]byte, 1))
	}
}

// waitForStoppedChild waits for a child that has stopped itself.
func waitForStoppedChild() { inChild("stop") }

// inChild runs a fault in a child process, and waits for it. "stop" is the
// child that stops itself.
func inChild(spec string) {
	p := startFault(spec)
	if p == nil {
		return
	}
	if spec == "stop" {
		_ = p.Signal(unix.SIGSTOP)
	}
	_, _ = p.Wait()
}

// startFault runs a fault in a child process. nil: it could not be started.
func startFault(spec string) *os.Process {
	attr := &os.ProcAttr{Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}}
	p, err := os.StartProcess("/init", []string{"agent", "fault", spec}, attr)
	if err != nil {
		fmt.Println("unwedge agent: start child:", err)
		return nil
	}
	return p
}

func sleepFor(arg string) {
	d, err := time.ParseDuration(arg)
	if err != nil {
		d = 1<<63 - 1
	}
	time.Sleep(d)
}

func spin() {
	for {
		runtime.KeepAlive(nil)
	}
}

func segv() {
	runtime.LockOSThread()
	_ = unix.Kill(unix.Getpid(), unix.SIGSEGV) // PID 1 ignores it, so:
	_, _, _ = unix.RawSyscall(unix.SYS_EXIT_GROUP, 139, 0, 0)
}

// flood prints arg mebibytes of lines on the console, 64 if arg is empty. Each line
// begins with the word that is made of its number.
func flood(arg string, word func(line uint64) string) {
	mib := 64
	_, _ = fmt.Sscan(arg, &mib)
	rest := strings.Repeat(" unwedge flood of console output", 31) + "\n"
	for sent, i := 0, uint64(0); sent < mib<<20; i++ {
		n, err := os.Stdout.WriteString(word(i) + rest)
		if err != nil {
			return
		}
		sent += n
	}
}

// letters writes a number without a digit, so that lines that differ by it differ to
// whoever takes all numbers for the same.
func letters(n uint64) string {
	word := []byte(strconv.FormatUint(n, 10))
	for i := range word {
		word[i] += 'k' - '0'
	}
	return string(word)
}

// escapes prints what could harm a terminal that shows it unfiltered.
func escapes() {
	fmt.Print("\x1b]0;owned\x07\x1b[2J\x1b[31mred\x1b[0m \x1b]52;c;b3duZWQ=\x07\u202eesrever\u202c \xff\xfe\x9b31m\n")
}

func sysrq(keys string) {
	for _, k := range keys {
		_ = os.WriteFile("/proc/sysrq-trigger", []byte(string(k)), 0)
	}
}

func eatMemory() {
	var keep [][]byte
	for {
		b := make([]byte, 16<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		keep = append(keep, b)
		runtime.KeepAlive(keep)
	}
}

// dumpLog sends the kernel's ring buffer as the guest sees it, one record per
// line with its sequence number, between two marks, so that the harness's
// console record can be compared with it.
func dumpLog() {
	fd, err := unix.Open("/dev/kmsg", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	var out strings.Builder
	buf := make([]byte, 8192)
	for {
		n, err := unix.Read(fd, buf)
		if err == unix.EPIPE || err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			break
		}
		out.Write(buf[:n])
	}
	fmt.Printf("\nunwedge-dmesg-begin\n%sunwedge-dmesg-end\n", out.String())
	// A report through the kernel log overtakes what the terminal still holds,
	// so wait until it is sent: tcdrain(3).
	_ = unix.IoctlSetInt(int(os.Stdout.Fd()), unix.TCSBRK, 1)
}
