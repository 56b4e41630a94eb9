package tasks

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/unwedge/unwedge/harness/internal/guestmem/locate"
)

// Task is one thread.
type Task struct {
	Addr      uint64 // of its task_struct
	PID, TGID int
	PPID      int
	Comm      string // as it is in memory, but printable
	State     string // the kernel's letter: R S D T t X Z P I
	// OnCPU says that a CPU runs it; CPU is the last CPU it ran on, -1 where
	// not known.
	OnCPU bool
	CPU   int
	Idle  bool // the idle task of a CPU: PID 0
	// Flags are task_struct.flags, InfoFlags thread_info.flags.
	Flags, InfoFlags uint64
	// Switches is how often it was scheduled away, of its own will or not.
	Switches uint64
	// User says that it has an address space of its own.
	User bool
	// Stack and StackSize are its kernel stack.
	Stack, StackSize uint64
	// SP, FP and PC are where it was scheduled away; FP and PC on aarch64.
	SP, FP, PC uint64

	parent, signal, worker uint64
	next, nextThread       uint64 // list pointers
	prev                   uint64
}

// The PF_ flags that are used here (include/linux/sched.h).
const (
	flagWorker  = 0x00000020 // PF_WQ_WORKER
	flagKthread = 0x00200000 // PF_KTHREAD
)

// Kthread says that it is a kernel thread.
func (t *Task) Kthread() bool { return t.Flags&flagKthread != 0 }

// Dead says that the task has ended. What is left of one that nobody waits for any
// more says so until its memory is used again.
func (t *Task) Dead() bool { return t.State == "Z" || t.State == "X" }

// Holds says whether an address lies in the task's kernel stack.
func (t *Task) Holds(addr uint64) bool {
	return t.Stack != 0 && addr >= t.Stack && addr-t.Stack < t.StackSize
}

var errNoTask = errors.New("not a task")

// At reads the task_struct at an address, which need not be on any list: that of
// a task which has exited stays readable until its memory is used again.
func (l *Layout) At(k *locate.Kernel, addr uint64) (Task, error) { return l.read(k, addr) }

// read reads one task_struct.
func (l *Layout) read(k *locate.Kernel, addr uint64) (Task, error) {
	b := make([]byte, l.size)
	if err := k.Space.Read(addr, b); err != nil {
		return Task{}, fmt.Errorf("read the task at %#x: %w", addr, err)
	}
	t := Task{
		Addr: addr, PID: int(int32(uint32(get(b, l.pid)))), TGID: int(int32(uint32(get(b, l.tgid)))),
		Flags: get(b, l.flags), InfoFlags: get(b, l.tiFlags), User: get(b, l.mm) != 0,
		Stack: get(b, l.stack), StackSize: l.stackSize, SP: get(b, l.sp), FP: get(b, l.fp), PC: get(b, l.pc),
		OnCPU: get(b, l.onCPU) != 0, CPU: -1,
		Switches: get(b, l.nvcsw) + get(b, l.nivcsw),
		parent:   get(b, l.parent), signal: get(b, l.signal), worker: get(b, l.worker),
	}
	t.next = binary.LittleEndian.Uint64(b[l.tasks.Off:])
	t.prev = binary.LittleEndian.Uint64(b[l.tasks.Off+8:])
	t.nextThread = binary.LittleEndian.Uint64(b[l.threadNode.Off:])
	if l.cpu.Size != 0 {
		t.CPU = int(int32(uint32(get(b, l.cpu))))
	}
	t.State = state(get(b, l.state), get(b, l.exitState))
	comm, ok := name(b[l.comm.Off : l.comm.Off+l.comm.Size])
	if !ok || t.PID < 0 || t.PID > maxPID || t.TGID < 0 || t.TGID > maxPID || t.Stack == 0 && t.State != "Z" && t.State != "X" {
		return Task{}, fmt.Errorf("read the task at %#x: %w", addr, errNoTask)
	}
	t.Comm = comm
	return t, nil
}

// maxPID is PID_MAX_LIMIT.
const maxPID = 4 << 20

// get reads a field of 1, 2, 4 or 8 bytes; 0 for one that the kernel lacks.
func get(b []byte, f field) uint64 {
	var w [8]byte
	copy(w[:], b[f.Off:f.Off+min(f.Size, 8)])
	return binary.LittleEndian.Uint64(w[:])
}

// name returns a comm. Anything may stand in it (prctl PR_SET_NAME), so what
// cannot be printed becomes a question mark. A comm that has no end is none.
func name(b []byte) (string, bool) {
	out := make([]byte, 0, len(b))
	for _, c := range b {
		switch {
		case c == 0:
			return string(out), true
		case c < ' ' || c > '~':
			out = append(out, '?')
		default:
			out = append(out, c)
		}
	}
	return "", false
}

// The task states that need a rule (include/linux/sched.h). The low seven bits
// are a letter each, in the order of letters.
const (
	letters    = "RSDTtXZPI"
	reported   = 0x7f   // TASK_REPORT
	idleState  = 0x402  // TASK_IDLE: TASK_UNINTERRUPTIBLE | TASK_NOLOAD
	rtlockWait = 0x1000 // TASK_RTLOCK_WAIT, since 5.15
	frozen     = 0x8000 // TASK_FROZEN, since 6.1
)

// state is task_state_to_char.
func state(st, exit uint64) string {
	n := (st | exit) & reported
	switch {
	case st&idleState == idleState:
		return "I"
	case st&(rtlockWait|frozen) != 0:
		return "D"
	}
	i := 0
	for ; n != 0; n >>= 1 {
		i++
	}
	return letters[i : i+1]
}
