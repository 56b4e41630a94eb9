// Package sysrq asks a running kernel what its tasks do, through the magic
// SysRq keys (Documentation/admin-guide/sysrq.rst), by whichever route the
// guest still hears, the one that disturbs it least first. Each attempt is
// recorded with what it yielded; one that yields nothing is never a capture.
package sysrq

import (
	"github.com/unwedge/unwedge/harness/result"

	"bytes"
	"context"
	"fmt"
	"time"
)

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
	Routes []result.Route
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
func Capture(ctx context.Context, g Guest, t Times) ([]result.Attempt, error) {
	var all []result.Attempt
	for _, r := range g.Routes {
		if r == result.NMI {
			a := g.nmi(ctx, t)
			all = append(all, a)
			continue
		}
		first := g.key(ctx, r, Keys[0], t)
		all = append(all, first)
		if ctx.Err() != nil {
			return all, context.Cause(ctx)
		}
		if first.Yield != result.Captured && first.Yield != result.Disabled {
			continue
		}
		for _, k := range []byte(Keys[1:]) {
			a := g.key(ctx, r, k, t)
			all = append(all, a)
			if ctx.Err() != nil {
				return all, context.Cause(ctx)
			}
			if a.Yield == result.NoAnswer || a.Yield == result.Torn { // the guest has stopped answering
				break
			}
		}
		return all, nil
	}
	return all, nil
}

// key sends one key and waits for what it prints.
func (g Guest) key(ctx context.Context, r result.Route, key byte, t Times) result.Attempt {
	a := result.Attempt{Key: string(rune(key)), Route: r, At: time.Now(), From: g.Console.Len()}
	a.To = a.From
	if err := g.send(ctx, r, key, t); err != nil {
		a.Yield, a.Layer, a.Note = result.Refused, "qemu", err.Error()
		return a
	}
	if key != 't' && key != Keys[len(Keys)-1] {
		t.Quiet /= 4
	}
	a.Yield, a.Layer, a.Note = g.await(ctx, key, a.From, t)
	a.To = g.Console.Len()
	return a
}

func (g Guest) send(ctx context.Context, r result.Route, key byte, t Times) error {
	if r == result.Keyboard {
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
func (g Guest) await(ctx context.Context, key byte, from int64, t Times) (y result.Yield, layer, note string) {
	const look = 20 * time.Millisecond
	started, last, length := time.Now(), time.Now(), from
	answered := false
	for {
		select {
		case <-ctx.Done():
			return result.Torn, "harness", context.Cause(ctx).Error()
		case <-time.After(look):
		}
		now := time.Now()
		if n := g.Console.Len(); n != length {
			length, last = n, now
		}
		if !answered {
			switch y = answer(g.Console.Since(from), key); y {
			case result.Disabled:
				return y, "kernel", "the kernel says: This sysrq operation is disabled."
			case result.Unsupported:
				return y, "kernel", "the kernel prints its help: it has no such key"
			case result.Captured:
				answered = true
			default:
				if now.Sub(started) > t.Banner {
					return result.NoAnswer, "guest", fmt.Sprintf("nothing that answers the key within %s", t.Banner)
				}
			}
			continue
		}
		if now.Sub(last) >= t.Quiet {
			return result.Captured, "", ""
		}
		if now.Sub(started) > t.Dump {
			return result.Torn, "guest", fmt.Sprintf("still printing after %s", t.Dump)
		}
	}
}

// answer looks for the kernel's reaction. drivers/tty/sysrq.c prints
// "sysrq: ACTION" (since 5.x; "SysRq : ACTION" before), its HELP for an unknown
// key, and "This sysrq operation is disabled." for one that is masked.
func answer(text []byte, key byte) result.Yield {
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
			return result.Disabled
		case bytes.Contains(said, []byte("HELP :")):
			return result.Unsupported
		case bytes.Contains(said, []byte(banners[key])):
			return result.Captured
		}
	}
	return result.NoAnswer
}

// banners are the action messages (sysrq_key_op.action_msg); they are the same
// from 2.6 to 7.x but for the case of a few letters that is left out here.
var banners = map[byte]string{
	'9': "hanging ", 'w': "how ", 't': "how ", 'l': "how ", 'd': "how ", 'm': "how ", 'q': "how ",
}

// nmi injects an NMI and records what the kernel prints on it.
func (g Guest) nmi(ctx context.Context, t Times) result.Attempt {
	a := result.Attempt{Route: result.NMI, At: time.Now(), From: g.Console.Len()}
	a.To = a.From
	if err := g.Monitor.Execute(ctx, "inject-nmi", nil, nil); err != nil {
		a.Yield, a.Layer, a.Note = result.Refused, "qemu", err.Error()
		return a
	}
	select {
	case <-ctx.Done():
	case <-time.After(t.Banner):
	}
	a.To = g.Console.Len()
	// Both what the kernel says of an NMI it does not know and the backtrace
	// or panic that may follow have the word (arch/x86/kernel/nmi.c).
	if a.Yield = result.Captured; !bytes.Contains(g.Console.Since(a.From), []byte("NMI")) {
		a.Yield, a.Layer, a.Note = result.NoAnswer, "guest", fmt.Sprintf("nothing that speaks of an NMI within %s", t.Banner)
	}
	return a
}
