// Package sysrq asks a running kernel what its tasks do, through the magic SysRq
// keys (Documentation/admin-guide/sysrq.rst), by the least disturbing route that
// the kernel answers on. Every attempt is recorded with what it yielded.
package sysrq

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/unwedge/unwedge/harness/result"
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
	// still in memory.
	Since(offset int64) []byte
}

// Guest is what the keys are sent to.
type Guest struct {
	Monitor Monitor
	Console Console
	// Chardev is QEMU's id of the console's chardev.
	Chardev string
	// Routes are tried in order, see Routes.
	Routes []result.Route
}

// Times bound the waiting, in wall time.
type Times struct {
	// Banner is how long the kernel may take to begin to print.
	Banner time.Duration
	// Quiet is the silence that ends the task dump and the last dump. The others
	// need less: the kernel prints a dump in one go and then takes the next key.
	Quiet time.Duration
	// Dump is how long one dump may take in all. A console that prints it slowly gets
	// several times as long.
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

// Keys are what Capture sends, in order: log level, blocked tasks, all tasks,
// CPU backtraces, locks, memory, timers.
const Keys = "9wtldmq"

// Capture sends Keys by the first route that the kernel answers on. It returns
// every attempt; its error is that of an unknown route or of a context that ended.
func Capture(ctx context.Context, g Guest, t Times) ([]result.Attempt, error) {
	var all []result.Attempt
	for _, name := range g.Routes {
		r, err := find(name)
		if err != nil {
			return all, err
		}
		got := g.ask(ctx, r, t)
		all = append(all, got...)
		if ctx.Err() != nil {
			return all, context.Cause(ctx)
		}
		if r.answer == "" && heard(got[0].Yield) {
			return all, nil
		}
	}
	return all, nil
}

// heard says that the kernel receives the keys, even if it does not obey.
func heard(y result.Yield) bool { return y == result.Captured || y == result.Disabled }

// ask sends Keys by one route until the kernel stops answering.
func (g Guest) ask(ctx context.Context, r route, t Times) (all []result.Attempt) {
	if r.answer != "" {
		return []result.Attempt{g.poke(ctx, r, t)}
	}
	for i, k := range []byte(Keys) {
		a := g.key(ctx, r, k, t)
		all = append(all, a)
		if ctx.Err() != nil || i == 0 && !heard(a.Yield) || i > 0 && (a.Yield == result.NoAnswer || a.Yield == result.Torn) {
			break
		}
	}
	return all
}

// start begins an attempt; ok is false where QEMU refused it.
func (g Guest) start(ctx context.Context, r route, key byte, t Times) (a result.Attempt, ok bool) {
	a = result.Attempt{Route: r.name, At: time.Now(), From: g.Console.Len()}
	a.To = a.From
	if err := r.send(ctx, g, key, t); err != nil {
		a.Yield, a.Layer, a.Note = result.Refused, "qemu", err.Error()
		return a, false
	}
	return a, true
}

// key sends one key and waits for what it prints.
func (g Guest) key(ctx context.Context, r route, key byte, t Times) result.Attempt {
	a, ok := g.start(ctx, r, key, t)
	a.Key = string(rune(key))
	if !ok {
		return a
	}
	if key != 't' && key != Keys[len(Keys)-1] {
		t.Quiet /= 4
	}
	a.Yield, a.Layer, a.Note = g.await(ctx, key, a.From, t)
	a.To = g.Console.Len()
	return a
}

// poke uses a route that carries no key and records what the kernel prints.
func (g Guest) poke(ctx context.Context, r route, t Times) result.Attempt {
	a, ok := g.start(ctx, r, 0, t)
	if !ok {
		return a
	}
	select {
	case <-ctx.Done():
	case <-time.After(t.Banner):
	}
	a.To = g.Console.Len()
	if a.Yield = result.Captured; !bytes.Contains(g.Console.Since(a.From), []byte(r.answer)) {
		a.Yield, a.Layer, a.Note = result.NoAnswer, "guest", fmt.Sprintf("no line with %q within %s", r.answer, t.Banner)
	}
	return a
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
				return y, "kernel", "the kernel prints its help: it does not know the key"
			case result.Captured:
				answered = true
			default:
				if now.Sub(started) > t.Banner {
					return result.NoAnswer, "guest", fmt.Sprintf("no answer within %s", t.Banner)
				}
			}
			continue
		}
		if now.Sub(last) >= t.Quiet {
			return result.Captured, "", ""
		}
		if t.over(now.Sub(started), length-from) {
			return result.Torn, "guest", fmt.Sprintf("still printing after %s", now.Sub(started).Round(time.Second))
		}
	}
}

// A dump of some 50 tasks has 50 KB. Where each byte is an exit to a host that is itself
// emulated, the UART prints 1 KB a second, which no calibration may have shown before:
// slow is told from endless by how much was printed.
const (
	slowDump = 64 << 10 // bytes
	patience = 6        // times Dump
)

// over says that a dump which has printed n bytes for a time will not end.
func (t Times) over(took time.Duration, n int64) bool {
	return took > t.Dump && (n > slowDump || took > patience*t.Dump)
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
