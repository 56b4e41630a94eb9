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

// Plug adds a virtio-rng device to the running machine, on the bus of that name.
// The numbers are QEMU's host's (rng-builtin). It says that QEMU has taken it, not
// that the guest has. A snapshot from before can no longer be loaded.
func Plug(ctx context.Context, m Monitor, bus string) error {
	if err := m.Execute(ctx, "object-add", map[string]string{"qom-type": "rng-builtin", "id": "probe-rng"}, nil); err != nil {
		return fmt.Errorf("make a source of random numbers: %w", err)
	}
	args := map[string]string{"driver": "virtio-rng-pci", "id": "probe-virtio-rng", "rng": "probe-rng", "bus": bus}
	if err := m.Execute(ctx, "device_add", args, nil); err != nil {
		return fmt.Errorf("plug in a virtio-rng: %w", err)
	}
	return nil
}

// pressPause is the longest pause between two changes of the key, and typeGap the
// time between two bytes. What a key press is credited with grows with the
// irregularity of its time (drivers/char/random.c, add_timer_randomness); with
// pauses of up to 50 ms 6.1 was seeded by some 120 changes in 3 s. A byte is
// credited a 64th of a bit, and only as an interrupt of its own: an 8250 gathers
// bytes that come closely, a PL011 of QEMU does not; 6.1 took some 17,000 bytes,
// in 11 s.
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

// xon is what a terminal takes as "go on" and neither shows nor keeps, unless its
// IXON is off (drivers/tty/n_tty.c); it is on by default (tty_std_termios).
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

// ErrNoSnapshot says that a guest could not be put back to where it was.
var ErrNoSnapshot = errors.New("the guest could not be put back to where it was")
