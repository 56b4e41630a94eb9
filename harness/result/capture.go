package result

import "time"

// Route is the way a sysrq key is sent to the kernel.
type Route string

// The routes, the least disturbing first.
const (
	// Break is a serial BREAK followed by the key on the console UART. The
	// kernel sees it once user space has opened the console. Kernels with
	// commit 8324a54f604d (7.0-rc5, stable 6.19.10) drop it on the 8250.
	Break Route = "serial-break"
	// Keyboard is Alt-SysRq-key by QMP send-key. Key presses feed the kernel's
	// entropy pool, so this may cure the hang that it is meant to diagnose.
	Keyboard Route = "keyboard"
	// NMI is QMP inject-nmi. It carries no key; all it yields is what the kernel
	// prints on an unknown NMI, if anything.
	NMI Route = "nmi"
)

// Yield is what an attempt gave.
type Yield string

// The yields of an attempt.
const (
	Captured    Yield = "captured"    // the kernel's banner, and the dump after it
	NoAnswer    Yield = "no-answer"   // sent, but the kernel printed nothing
	Disabled    Yield = "disabled"    // the kernel received it and said that the key is disabled
	Unsupported Yield = "unsupported" // the kernel received it and has no such key
	Refused     Yield = "refused"     // not sent, or QEMU returned an error
	Torn        Yield = "torn"        // the dump began but did not end in time
)

// Attempt is one sysrq key sent by one route.
type Attempt struct {
	// Key is the sysrq key, as in /proc/sysrq-trigger; empty for an NMI.
	Key string `json:"key"`
	// Route is how it was sent.
	Route Route `json:"route"`
	// At is the host's time when it was sent.
	At time.Time `json:"at"`
	// Yield is what it gave.
	Yield Yield `json:"yield"`
	// From is the offset in console.log, in bytes, of the first byte that the
	// guest printed after it.
	From int64 `json:"from"`
	// To is the offset in console.log, in bytes, after the last byte of the dump.
	To int64 `json:"to"`
	// Layer is what stopped it: qemu, kernel, guest or harness.
	Layer string `json:"layer,omitempty"`
	// Note is the error or the kernel's answer.
	Note string `json:"note,omitempty"`
}

// CPUSample is one sample of one vCPU's registers, from QEMU's `info registers`.
type CPUSample struct {
	// CPU is the vCPU's index.
	CPU int `json:"cpu"`
	// PC is the program counter.
	PC uint64 `json:"pc"`
	// SP is the stack pointer.
	SP uint64 `json:"sp"`
	// Halted is the x86 HLT state; QEMU does not show it for arm64.
	Halted bool `json:"halted,omitempty"`
	// User says that the vCPU was in user mode (x86 CPL 3, arm64 EL0).
	User bool `json:"user,omitempty"`
	// IRQsOff says that the vCPU takes no interrupts (x86 RFLAGS.IF clear,
	// arm64 PSTATE.I set); nil if QEMU does not show it.
	IRQsOff *bool `json:"irqs_off,omitempty"`
	// Symbol is the program counter as function+offset, empty if no symbol is
	// known for it.
	Symbol string `json:"symbol,omitempty"`
	// State is a hash of the general-purpose registers, without the program
	// counter and the flags; 0 if they are not known. Two equal samples of a
	// running vCPU mean a loop that computes nothing.
	State uint64 `json:"state,omitempty"`
}

// Dumped returns the first attempt that captured the dump of the key.
func Dumped(attempts []Attempt, key byte) (Attempt, bool) {
	for _, a := range attempts {
		if a.Key == string(rune(key)) && a.Yield == Captured {
			return a, true
		}
	}
	return Attempt{}, false
}
