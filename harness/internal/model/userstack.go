package model

// UserStack is the user-space stack of a task, read from the guest's memory.
type UserStack struct {
	// Line is the stack in one line: `systemd(1) → getrandom ←
	// libgcrypt.so.20 ← constructor ← ld.so`.
	Line string
	// Frames are its functions, innermost first.
	Frames []string
	// Syscall is the system call the task was in, "" for none that is known.
	Syscall string
	// CalledFrom is the library that made the call, "" if it was the program or
	// its C library.
	CalledFrom string
}
