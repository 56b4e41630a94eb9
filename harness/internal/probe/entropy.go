package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"
)

// Monitor is the part of a QMP connection that is needed here.
type Monitor interface {
	Execute(ctx context.Context, cmd string, args, out any) error
}

// Plug adds a virtio-rng device, fed by QEMU's rng-builtin, to the named bus of
// the running machine. Success means that QEMU added it, not that the guest uses
// it. Earlier snapshots can no longer be loaded.
func Plug(ctx context.Context, m Monitor, bus string) error {
	if err := m.Execute(ctx, "object-add", map[string]string{"qom-type": "rng-builtin", "id": "probe-rng"}, nil); err != nil {
		return fmt.Errorf("add rng-builtin: %w", err)
	}
	args := map[string]string{"driver": "virtio-rng-pci", "id": "probe-virtio-rng", "rng": "probe-rng", "bus": bus}
	if err := m.Execute(ctx, "device_add", args, nil); err != nil {
		return fmt.Errorf("add virtio-rng: %w", err)
	}
	return nil
}

// pressPause is the longest pause between two key events, and typeGap the time
// between two bytes. The kernel credits a key event by the irregularity of its
// timing (drivers/char/random.c, add_timer_randomness): with pauses of up to 50 ms,
// 120 events in 3 s seed 6.1. A byte is credited 1/64 bit, if it raises an interrupt
// of its own: an 8250 batches bytes that follow closely, QEMU's PL011 does not. 6.1
// needs some 17,000 bytes, which take 11 s.
const (
	pressPause = 50 * time.Millisecond
	typeGap    = 500 * time.Microsecond
)

// Press presses and releases the shift key, which types nothing, at irregular
// times until ctx ends, and returns how often. The end of ctx is no error.
func Press(ctx context.Context, m Monitor) (n int, err error) {
	type qcode struct {
		Type string `json:"type"`
		Data string `json:"data"`
	}
	type key struct {
		Down bool  `json:"down"`
		Key  qcode `json:"key"`
	}
	type event struct {
		Type string `json:"type"`
		Data key    `json:"data"`
	}
	for ; ; n++ {
		args := map[string]any{"events": []event{{"key", key{n%2 == 0, qcode{"qcode", "shift"}}}}}
		if err := m.Execute(ctx, "input-send-event", args, nil); err != nil {
			if ctx.Err() != nil {
				return n, nil
			}
			return n, fmt.Errorf("press a key: %w", err)
		}
		if !pause(ctx, time.Duration(rand.Int64N(int64(pressPause)))) {
			return n + 1, nil
		}
	}
}

// xon resumes output; a terminal neither echoes nor keeps it while IXON is on
// (drivers/tty/n_tty.c), which is the default (tty_std_termios).
const xon = 0x11

// Type types XON bytes until ctx ends, and returns how many. The end of ctx is no
// error.
func Type(ctx context.Context, w io.Writer) (n int, err error) {
	for ; pause(ctx, typeGap); n++ {
		if _, err := w.Write([]byte{xon}); err != nil {
			return n, fmt.Errorf("type at the console: %w", err)
		}
	}
	return n, nil
}

// pause is false where ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// ErrNoSnapshot says that a guest could not be restored.
var ErrNoSnapshot = errors.New("restore the guest")
