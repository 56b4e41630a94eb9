package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// waits are ways to wait for something that another task has: what each waits
// for, and for whom, is known, so that tests can compare it with what is found.
var waits = map[string]func(arg string){
	"flock-held":  func(string) { waitForHolder("hold-flock", lockFile) },
	"posix-held":  func(string) { waitForHolder("hold-posix", lockRange) },
	"flock-ring":  func(string) { lockRing() },
	"pipe-held":   func(string) { readFromChild(pipe) },
	"socket-held": func(string) { readFromChild(socketPair) },
	"fifo":        func(string) { openFIFO() },
	"pi-futex":    func(string) { futexOfThread(lockPI) },
	"mutex-word":  func(string) { futexOfThread(likeGlibc) },
	"poll":        func(string) { polls(pollPipe) },
	"select":      func(string) { polls(selectPipe) },
	"epoll":       func(string) { polls(epollPipe) },
	"vfork":       func(string) { vforkForEver() },
	"pause":       func(string) { pauseForEver() },
	"ring-far":    func(string) { ringFar() },
	"hold-flock":  func(string) { hold(lockFile) },
	"hold-posix":  func(string) { hold(lockRange) },
}

const heldFile = "/tmp/held"

func lockFile(fd int) error { return unix.Flock(fd, unix.LOCK_EX) }

func lockRange(fd int) error {
	return unix.FcntlFlock(uintptr(fd), unix.F_SETLKW, &unix.Flock_t{Type: unix.F_WRLCK})
}

func failed(what string, err error) bool {
	if err != nil {
		fmt.Printf("unwedge agent: %s: %v\n", what, err)
	}
	return err != nil
}

func pauseForEver() {
	for {
		_, _ = unix.Ppoll(nil, nil, nil)
	}
}

// hold takes the lock, says so on its standard output, and keeps it.
func hold(lock func(int) error) {
	fd, err := unix.Open(heldFile, unix.O_CREAT|unix.O_RDWR, 0o600)
	if failed("open", err) || failed("lock", lock(fd)) {
		return
	}
	fmt.Println("held")
	pauseForEver()
}

// waitForHolder waits for a lock that a child, which runs the fault named, holds.
func waitForHolder(name string, lock func(int) error) {
	r, w, err := os.Pipe()
	if failed("pipe", err) {
		return
	}
	_, err = os.StartProcess("/init", []string{"agent", "fault", name}, &os.ProcAttr{Files: []*os.File{os.Stdin, w, os.Stderr}})
	if failed("start child", err) {
		return
	}
	if _, err := r.Read(make([]byte, 8)); failed("hear from the child", err) {
		return
	}
	fd, err := unix.Open(heldFile, unix.O_CREAT|unix.O_RDWR, 0o600)
	if failed("open", err) {
		return
	}
	failed("lock", lock(fd))
}

// The locks that two processes take in opposite order.
const ringMine, ringTheirs = "/tmp/ring-a", "/tmp/ring-b"

// lockRing takes a lock, starts a child that takes another and then wants this
// one, and wants the child's.
func lockRing() {
	r, w, err := os.Pipe()
	if failed("pipe", err) || !takeFile(ringMine) {
		return
	}
	_, err = os.StartProcess("/init", []string{"agent", "fault", "ring-far"}, &os.ProcAttr{Files: []*os.File{os.Stdin, w, os.Stderr}})
	if failed("start child", err) {
		return
	}
	if _, err := r.Read(make([]byte, 8)); !failed("hear from the child", err) {
		takeFile(ringTheirs)
	}
}

func ringFar() {
	if takeFile(ringTheirs) {
		fmt.Println("held")
		takeFile(ringMine)
	}
}

func takeFile(path string) bool {
	fd, err := unix.Open(path, unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	return !failed("open", err) && !failed("lock", lockFile(fd))
}

func pipe() (mine, theirs int, err error) {
	var p [2]int
	err = unix.Pipe2(p[:], unix.O_CLOEXEC)
	return p[0], p[1], err
}

func socketPair() (mine, theirs int, err error) {
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	return p[0], p[1], err
}

// readFromChild reads what a child, which has the only other end, never writes.
func readFromChild(ends func() (mine, theirs int, err error)) {
	mine, theirs, err := ends()
	if failed("make the ends", err) {
		return
	}
	far := os.NewFile(uintptr(theirs), "far")
	_, err = os.StartProcess("/init", []string{"agent", "fault", "pause"}, &os.ProcAttr{Files: []*os.File{os.Stdin, os.Stdout, os.Stderr, far}})
	if failed("start child", err) {
		return
	}
	_ = far.Close()
	_, _ = unix.Read(mine, make([]byte, 1))
}

func openFIFO() {
	if failed("mkfifo", unix.Mkfifo("/tmp/fifo", 0o600)) {
		return
	}
	_, _ = unix.Open("/tmp/fifo", unix.O_RDONLY, 0)
}

// futexOfThread waits for a futex that a thread of this process holds, which does
// nothing more.
func futexOfThread(wait func(word []byte, owner int)) {
	mem, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if failed("map", err) {
		return
	}
	owner := make(chan int)
	go func() {
		runtime.LockOSThread()
		const lockPI = 6
		_, _, _ = unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(&mem[64])), lockPI, 0, 0, 0, 0)
		owner <- unix.Gettid()
		pauseForEver()
	}()
	runtime.LockOSThread()
	wait(mem, <-owner)
}

// lockPI waits for the PI futex that the other thread took.
func lockPI(mem []byte, _ int) {
	const lockPI = 6
	_, _, _ = unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(&mem[64])), lockPI, 0, 0, 0, 0)
}

// likeGlibc waits as glibc's pthread_mutex_lock does: the lock is 2, its owner
// follows behind the count.
func likeGlibc(mem []byte, owner int) {
	const wait, contended = 0, 2
	binary.NativeEndian.PutUint32(mem, contended)
	binary.NativeEndian.PutUint32(mem[8:], uint32(owner))
	for {
		_, _, _ = unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(&mem[0])), wait, contended, 0, 0, 0)
	}
}

// polls waits for a pipe that nobody writes to.
func polls(wait func(fd int)) {
	mine, _, err := pipe()
	if failed("pipe", err) {
		return
	}
	for {
		wait(mine)
	}
}

func pollPipe(fd int) {
	_, _ = unix.Ppoll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, nil, nil)
}

func selectPipe(fd int) {
	var set unix.FdSet
	set.Set(fd)
	_, _ = unix.Pselect(fd+1, &set, nil, nil, nil, nil)
}

func epollPipe(fd int) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if failed("epoll", err) || failed("epoll", unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})) {
		return
	}
	_, _ = unix.EpollWait(ep, make([]unix.EpollEvent, 1), -1)
}

// vforkForEver waits for a child of vfork that neither ends nor starts a program.
// The child has only the thread that forked, so nothing of Go's may be used in it
// but plain system calls.
func vforkForEver() {
	pid, _, _ := unix.RawSyscall6(unix.SYS_CLONE, unix.CLONE_VFORK|uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	for pid == 0 {
		_, _, _ = unix.RawSyscall6(unix.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
	}
}
