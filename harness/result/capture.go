package result

import "time"

// Route is a way to get a key to the kernel.
type Route string

// The routes, the least disturbing first.
const (
	// Break is a serial BREAK followed by the key on the console UART. The
	// kernel hears it once user space has opened the console. Kernels with
	// commit 8324a54f604d (7.0-rc5, stable 6.19.10) swallow it on the 8250.
	Break Route = "serial-break"
	// Keyboard is Alt-SysRq-key by QMP send-key. Key presses feed the
	// kernel's entropy pool, so this can cure what it should diagnose.
	Keyboard Route = "keyboard"
	// NMI is QMP inject-nmi. It carries no key: what the kernel prints on an
	// unknown NMI, if anything, is all it yields.
	NMI Route = "nmi"
)

// Yield is what came of an attempt.
type Yield string

// The yields of an attempt.
const (
	Captured    Yield = "captured"    // the kernel's banner, and what followed
	NoAnswer    Yield = "no-answer"   // sent, and the kernel printed nothing
	Disabled    Yield = "disabled"    // the kernel heard it and said no
	Unsupported Yield = "unsupported" // the kernel heard it and has no such key
	Refused     Yield = "refused"     // QEMU did not take it
	Torn        Yield = "torn"        // it began to print and did not finish in time
)

// Attempt is one key on one route.
type Attempt struct {
	Key   string    `json:"key"` // "" for an NMI
	Route Route     `json:"route"`
	At    time.Time `json:"at"`
	Yield Yield     `json:"yield"`
	// From and To are the console offsets of what it yielded.
	From int64 `json:"from"`
	To   int64 `json:"to"`
	// Layer is who refused it, and Note what was said.
	Layer string `json:"layer,omitempty"`
	Note  string `json:"note,omitempty"`
}

// CPUSample is one look at one vCPU's registers.
type CPUSample struct {
	CPU int `json:"cpu"`
	// PC is the program counter.
	PC uint64 `json:"pc"`
	// SP is the stack pointer.
	SP uint64 `json:"sp"`
	// Halted is the x86 HLT state; arm64 does not show one.
	Halted bool `json:"halted,omitempty"`
	// User says that the vCPU was in user mode (x86 CPL=3, arm64 EL0).
	User bool `json:"user,omitempty"`
	// IRQsOff says that the vCPU takes no interrupts (x86 RFLAGS.IF clear,
	// arm64 PSTATE.I set); nil where it was not shown.
	IRQsOff *bool `json:"irqs_off,omitempty"`
	// Symbol is PC as function+offset, "" where it could not be named.
	Symbol string `json:"symbol,omitempty"`
	// State is a hash of the general registers, without the program counter
	// and the flags; 0 where they were not shown.
	State uint64 `json:"state,omitempty"`
}

// Dumped says whether one of the attempts captured a dump of the key.
func Dumped(attempts []Attempt, key byte) (Attempt, bool) {
	for _, a := range attempts {
		if a.Key == string(rune(key)) && a.Yield == Captured {
			return a, true
		}
	}
	return Attempt{}, false
}
