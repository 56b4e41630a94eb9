package sysrq

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// Disturbance is what the use of a route may change in the guest.
type Disturbance struct {
	// FeedsEntropy: the kernel mixes what it receives into its entropy pool, so
	// asking may cure a boot that starves for entropy.
	FeedsEntropy bool
	// MayReset: a kernel that has no handler yet ends in a reset.
	MayReset bool
}

// route is a way to reach the kernel. QEMU refuses it where send fails.
type route struct {
	name     result.Route
	disturbs Disturbance
	on       func(arch.Facts, arch.MachineType) bool // the machines that have it
	send     func(ctx context.Context, g Guest, key byte, t Times) error
	// answer is in what the kernel prints on a route that carries no key; ""
	// for one that does.
	answer string
}

// routes are all there are, the least disturbing first.
var routes = []route{
	{
		name: result.Break,
		on:   func(arch.Facts, arch.MachineType) bool { return true },
		send: sendBreak,
	},
	{
		name:     result.Keyboard,
		disturbs: Disturbance{FeedsEntropy: true}, // drivers/char/random.c, add_input_randomness
		on:       func(_ arch.Facts, m arch.MachineType) bool { return m.HasKeyboard },
		send:     pressKey,
	},
	{
		name:     result.NMI,
		disturbs: Disturbance{MayReset: true}, // a triple fault, before the kernel has loaded its IDT
		on:       func(f arch.Facts, _ arch.MachineType) bool { return f.HasNMI },
		send:     injectNMI,
		// Both the complaint about an unknown NMI and a backtrace or panic on
		// it have the word (arch/x86/kernel/nmi.c).
		answer: "NMI",
	},
}

// Routes are those of a machine, the least disturbing first, and apart from them
// the last resort: those that may reset the guest.
func Routes(f arch.Facts, m arch.MachineType) (normal, lastResort []result.Route) {
	for _, r := range routes {
		switch {
		case !r.on(f, m):
		case r.disturbs.MayReset:
			lastResort = append(lastResort, r.name)
		default:
			normal = append(normal, r.name)
		}
	}
	return normal, lastResort
}

// Disturbs says what a route may change; nothing for an unknown one, which
// Capture does not use.
func Disturbs(name result.Route) Disturbance {
	r, err := find(name)
	if err != nil {
		return Disturbance{}
	}
	return r.disturbs
}

func find(name result.Route) (route, error) {
	i := slices.IndexFunc(routes, func(r route) bool { return r.name == name })
	if i < 0 {
		return route{}, fmt.Errorf("unknown sysrq route %q", name)
	}
	return routes[i], nil
}

// sendBreak sends a BREAK and then the key to the console's UART.
func sendBreak(ctx context.Context, g Guest, key byte, t Times) error {
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

// pressKey presses Alt-SysRq-key on the keyboard.
func pressKey(ctx context.Context, g Guest, key byte, _ Times) error {
	return g.Monitor.Execute(ctx, "send-key", map[string]any{
		"keys":      []qcode{{"qcode", "alt"}, {"qcode", "sysrq"}, {"qcode", string(rune(key))}},
		"hold-time": 50,
	}, nil)
}

func injectNMI(ctx context.Context, g Guest, _ byte, _ Times) error {
	return g.Monitor.Execute(ctx, "inject-nmi", nil, nil)
}
