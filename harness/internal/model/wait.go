package model

import (
	"strconv"
	"strings"
)

// Owner is a lock owner that the kernel named in a hung-task report
// (CONFIG_DETECT_HUNG_TASK_BLOCKER, 6.15).
type Owner struct {
	WaiterComm string `json:"waiter_comm"`
	WaiterPID  int    `json:"waiter_pid"`
	Lock       string `json:"lock"` // "mutex", "semaphore", "rw-semaphore"
	// OwnerComm is "" and OwnerPID 0 where the kernel did not find it.
	OwnerComm string `json:"owner_comm,omitempty"`
	OwnerPID  int    `json:"owner_pid,omitempty"`
	Offset    int64  `json:"offset"`
	End       int64  `json:"end"`
}

// Wait is what a task waits for, and who could end that, as memory shows it: no
// kernel prints it.
type Wait struct {
	// PID and Comm are the task's.
	PID  int    `json:"-"`
	Comm string `json:"-"`
	// Kind is "mutex", "semaphore", "rw-semaphore", "completion", "wait queue",
	// "futex", "flock", "POSIX lock", "pipe", "FIFO", "socket", "child", "I/O",
	// "poll", "select" or "epoll".
	Kind string `json:"kind"`
	// Object is the name of what it waits for, empty if that has none.
	Object string `json:"object,omitempty"`
	// Addr is that object's address in the kernel.
	Addr uint64 `json:"address,omitempty"`
	// Holders are tasks that hold it, or are at its other end.
	Holders []Holder `json:"holders,omitempty"`
	// Watches are the files that a poll, select or epoll watches.
	Watches []string `json:"watches,omitempty"`
	// More is the number of further holders or watches.
	More int `json:"more,omitempty"`
	// Detail is what else is known of the wait.
	Detail string `json:"detail,omitempty"`
}

// Holder is a task that holds what another waits for, or is at its other end.
type Holder struct {
	// PID is its process ID.
	PID int `json:"pid"`
	// Comm is its name, empty if it has exited.
	Comm string `json:"comm,omitempty"`
	// State is the kernel's letter for its state.
	State string `json:"state,omitempty"`
	// Role says what it has to do with the object: holds it, can write, ...
	Role string `json:"role"`
}

// The bounds of one Wait.
const (
	MaxHolders = 16
	MaxWatches = 32
)

// Hold adds a holder, within the bound.
func (w *Wait) Hold(h Holder) {
	if len(w.Holders) == MaxHolders {
		w.More++
		return
	}
	w.Holders = append(w.Holders, h)
}

// Name is the object by kind and name: "flock /run/x.lock", "pipe:[123]".
func (w *Wait) Name() string {
	if strings.HasPrefix(w.Object, w.Kind+":") {
		return w.Object
	}
	return strings.TrimSpace(w.Kind + " " + w.Object)
}

// String is the wait in words, without who waits: "pipe:[123]: sh (PID 7,
// state S) can write".
func (w *Wait) String() string {
	s := w.Name()
	if w.Detail != "" {
		s += " (" + w.Detail + ")"
	}
	var who []string
	for _, h := range w.Holders {
		name := "PID " + strconv.Itoa(h.PID) + ", which has exited,"
		if h.Comm != "" {
			name = h.Comm + " (PID " + strconv.Itoa(h.PID) + ", state " + h.State + ")"
		}
		who = append(who, name+" "+h.Role)
	}
	if w.More > 0 {
		who = append(who, strconv.Itoa(w.More)+" more")
	}
	if len(who) > 0 {
		s += ": " + strings.Join(who, ", ")
	}
	if len(w.Watches) > 0 {
		s += ": " + strings.Join(w.Watches, ", ")
	}
	return s
}
