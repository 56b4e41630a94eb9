// Package sysrq asks a running kernel what its tasks do, through the magic
// SysRq keys (Documentation/admin-guide/sysrq.rst), by whichever route the
// guest still hears, the one that disturbs it least first. Each attempt is
// recorded with what it yielded; one that yields nothing is never a capture.
package sysrq

import (
	"bytes"
	"context"
	"fmt"
	"time"
)

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

// Monitor is the part of a QMP connection that is needed.
type Monitor interface {
	Execute(ctx context.Context, cmd string, args, out any) error
}

// Console is the guest's UART.
type Console interface {
	// Write types at the guest.
	Write(p []byte) (int, error)
	// Len is the number of bytes the guest has written so far.
	Len() int64
	// Since returns what the guest wrote from the offset on, as far as it is
	// still in memory: the newest part where not all is.
	Since(offset int64) []byte
}

// Guest is what the keys are sent to.
type Guest struct {
	Monitor Monitor
	Console Console
	// Chardev is QEMU's id of the console's chardev.
	Chardev string
	// Routes are those that the machine has, in order.
	Routes []Route
}

// Times bound the waiting. All are wall times.
type Times struct {
	// Banner is how long the kernel may take to begin to print.
	Banner time.Duration
	// Quiet is the silence that ends the task dump and the last one. The others
	// need less: the kernel prints a dump in one go and only then hears the
	// next key.
	Quiet time.Duration
	// Dump is how long one dump may take in all.
	Dump time.Duration
}

// Scaled returns the times for a host on which a good boot takes unit.
func Scaled(unit time.Duration) Times {
	return Times{
		Banner: max(time.Second, unit/3),
		Quiet:  max(300*time.Millisecond, unit/12),
		Dump:   max(20*time.Second, 6*unit),
	}
}

// Keys are what Capture asks, in order: log level, blocked tasks, all tasks,
// backtraces of the CPUs, locks, memory, timers.
const Keys = "9wtldmq"

// Capture sends Keys by the first route that the kernel answers on. It returns
// every attempt; its error is only that of a context that ended.
func Capture(ctx context.Context, g Guest, t Times) ([]Attempt, error) {
	var all []Attempt
	for _, r := range g.Routes {
		if r == NMI {
			a := g.nmi(ctx, t)
			all = append(all, a)
			continue
		}
		first := g.key(ctx, r, Keys[0], t)
		all = append(all, first)
		if ctx.Err() != nil {
			return all, context.Cause(ctx)
		}
		if first.Yield != Captured && first.Yield != Disabled {
			continue
		}
		for _, k := range []byte(Keys[1:]) {
			a := g.key(ctx, r, k, t)
			all = append(all, a)
			if ctx.Err() != nil {
				return all, context.Cause(ctx)
			}
			if a.Yield == NoAnswer || a.Yield == Torn { // the guest has stopped answering
				break
			}
		}
		return all, nil
	}
	return all, nil
}

// key sends one key and waits for what it prints.
func (g Guest) key(ctx context.Context, r Route, key byte, t Times) Attempt {
	a := Attempt{Key: string(rune(key)), Route: r, At: time.Now(), From: g.Console.Len()}
	a.To = a.From
	if err := g.send(ctx, r, key, t); err != nil {
		a.Yield, a.Layer, a.Note = Refused, "qemu", err.Error()
		return a
	}
	if key != 't' && key != Keys[len(Keys)-1] {
		t.Quiet /= 4
	}
	a.Yield, a.Layer, a.Note = g.await(ctx, key, a.From, t)
	a.To = g.Console.Len()
	return a
}

func (g Guest) send(ctx context.Context, r Route, key byte, t Times) error {
	if r == Keyboard {
		return g.Monitor.Execute(ctx, "send-key", map[string]any{
			"keys":      []qcode{{"qcode", "alt"}, {"qcode", "sysrq"}, {"qcode", string(rune(key))}},
			"hold-time": 50,
		}, nil)
	}
	if err := g.Monitor.Execute(ctx, "chardev-send-break", map[string]string{"id": g.Chardev}, nil); err != nil {
		return err
	}
	// The UART must hand the BREAK to the kernel before the key is there.
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(t.Quiet / 8):
	}
	if _, err := g.Console.Write([]byte{key}); err != nil {
		return fmt.Errorf("write the key to the console: %w", err)
	}
	return nil
}

type qcode struct {
	Type string `json:"type"`
	Data string `json:"data"`
}

// await waits for the banner, then for silence.
func (g Guest) await(ctx context.Context, key byte, from int64, t Times) (y Yield, layer, note string) {
	const look = 20 * time.Millisecond
	started, last, length := time.Now(), time.Now(), from
	answered := false
	for {
		select {
		case <-ctx.Done():
			return Torn, "harness", context.Cause(ctx).Error()
		case <-time.After(look):
		}
		now := time.Now()
		if n := g.Console.Len(); n != length {
			length, last = n, now
		}
		if !answered {
			switch y = answer(g.Console.Since(from), key); y {
			case Disabled:
				return y, "kernel", "the kernel says: This sysrq operation is disabled."
			case Unsupported:
				return y, "kernel", "the kernel prints its help: it has no such key"
			case Captured:
				answered = true
			default:
				if now.Sub(started) > t.Banner {
					return NoAnswer, "guest", fmt.Sprintf("nothing that answers the key within %s", t.Banner)
				}
			}
			continue
		}
		if now.Sub(last) >= t.Quiet {
			return Captured, "", ""
		}
		if now.Sub(started) > t.Dump {
			return Torn, "guest", fmt.Sprintf("still printing after %s", t.Dump)
		}
	}
}

// answer looks for the kernel's reaction. drivers/tty/sysrq.c prints
// "sysrq: ACTION" (since 5.x; "SysRq : ACTION" before), its HELP for an unknown
// key, and "This sysrq operation is disabled." for one that is masked.
func answer(text []byte, key byte) Yield {
	for line := range bytes.Lines(text) {
		i := bytes.Index(line, []byte("sysrq: "))
		if i < 0 {
			i = bytes.Index(line, []byte("SysRq : "))
		}
		if i < 0 {
			continue
		}
		said := line[i:]
		switch {
		case bytes.Contains(said, []byte("This sysrq operation is disabled")):
			return Disabled
		case bytes.Contains(said, []byte("HELP :")):
			return Unsupported
		case bytes.Contains(said, []byte(banners[key])):
			return Captured
		}
	}
	return NoAnswer
}

// banners are the action messages (sysrq_key_op.action_msg); they are the same
// from 2.6 to 7.x but for the case of a few letters that is left out here.
var banners = map[byte]string{
	'9': "hanging ", 'w': "how ", 't': "how ", 'l': "how ", 'd': "how ", 'm': "how ", 'q': "how ",
}

// nmi injects an NMI and records what the kernel prints on it.
func (g Guest) nmi(ctx context.Context, t Times) Attempt {
	a := Attempt{Route: NMI, At: time.Now(), From: g.Console.Len()}
	a.To = a.From
	if err := g.Monitor.Execute(ctx, "inject-nmi", nil, nil); err != nil {
		a.Yield, a.Layer, a.Note = Refused, "qemu", err.Error()
		return a
	}
	select {
	case <-ctx.Done():
	case <-time.After(t.Banner):
	}
	a.To = g.Console.Len()
	// Both what the kernel says of an NMI it does not know and the backtrace
	// or panic that may follow have the word (arch/x86/kernel/nmi.c).
	if a.Yield = Captured; !bytes.Contains(g.Console.Since(a.From), []byte("NMI")) {
		a.Yield, a.Layer, a.Note = NoAnswer, "guest", fmt.Sprintf("nothing that speaks of an NMI within %s", t.Banner)
	}
	return a
}

// Any says whether one of the attempts captured a dump of the key.
func Any(attempts []Attempt, key byte) (Attempt, bool) {
	for _, a := range attempts {
		if a.Key == string(rune(key)) && a.Yield == Captured {
			return a, true
		}
	}
	return Attempt{}, false
}
