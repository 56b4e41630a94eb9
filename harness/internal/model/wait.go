package model

import (
	"strconv"
	"strings"
)

// Ownership is a lock owner that the kernel named in a hung-task report
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
	PID  int    `json:"pid"`
	Comm string `json:"comm"`
	// Kind is "mutex", "semaphore", "rw-semaphore", "completion", "wait queue",
	// "futex", "flock", "POSIX lock", "pipe", "FIFO", "socket", "child", "I/O",
	// "poll", "select" or "epoll".
	Kind string `json:"kind"`
	// Object names it: a symbol, a file, a device, a user address; "" where it
	// has no name. Addr is where it is in the kernel, 0 where that says nothing.
	Object string `json:"object,omitempty"`
	Addr   uint64 `json:"addr,omitempty"`
	// Holders are the tasks that hold it or are at its other end, the first of
	// them; More is how many there are beside. None are known where it is
	// empty.
	Holders []Holder `json:"holders,omitempty"`
	More    int      `json:"more,omitempty"`
	// Watches are the files of a poll, a select or an epoll.
	Watches []string `json:"watches,omitempty"`
	// Detail is what else is known, and how.
	Detail string `json:"detail,omitempty"`
}

// Holder is a task that a Wait is for.
type Holder struct {
	PID   int    `json:"pid"`
	Comm  string `json:"comm,omitempty"` // "" for one that has gone
	State string `json:"state,omitempty"`
	// Role says what it has to do with the object: "holds it", "can write".
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
		name := "PID " + strconv.Itoa(h.PID) + ", which has gone,"
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
