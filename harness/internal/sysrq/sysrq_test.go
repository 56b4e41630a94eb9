package sysrq_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/unwedge/unwedge/harness/internal/sysrq"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// guest is a kernel that hears keys on some routes.
type guest struct {
	mu     sync.Mutex
	out    []byte
	broken bool // a BREAK was sent, the next byte is a key
	hears  map[result.Route]bool
	says   func(key byte) []string // lines, one every 50 ms
	err    error                   // QEMU's own
}

func (g *guest) Execute(_ context.Context, cmd string, args, _ any) error {
	if g.err != nil {
		return g.err
	}
	switch cmd {
	case "chardev-send-break":
		g.broken = true
	case "send-key":
		s := fmt.Sprint(args)
		g.react(result.Keyboard, s[strings.LastIndex(s, "qcode ")+len("qcode ")])
	case "inject-nmi":
		g.react(result.NMI, 0)
	}
	return nil
}

func (g *guest) Write(p []byte) (int, error) {
	if g.broken {
		g.broken = false
		g.react(result.Break, p[0])
	}
	return len(p), nil
}

func (g *guest) react(r result.Route, key byte) {
	if !g.hears[r] {
		return
	}
	go func() {
		for _, l := range g.says(key) {
			time.Sleep(50 * time.Millisecond) // the bubble's clock
			g.mu.Lock()
			g.out = append(g.out, l+"\n"...)
			g.mu.Unlock()
		}
	}()
}

func (g *guest) Len() int64 { g.mu.Lock(); defer g.mu.Unlock(); return int64(len(g.out)) }
func (g *guest) Since(o int64) []byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]byte(nil), g.out[o:]...)
}

func talks(key byte) []string {
	switch key {
	case 0:
		return []string{"Uhhuh. NMI received for unknown reason 30 on CPU 0."}
	case '9':
		return []string{"[    9.0] sysrq: Changing Loglevel", "[    9.0] sysrq: Loglevel set to 9"}
	case 'd':
		return []string{"[    9.2] sysrq: HELP : loglevel(0-9) reboot(b) crash(c)"}
	default:
		return []string{"[    9.1] sysrq: Show State", "task:init state:S", " Call Trace:", "  schedule+0x1/0x2"}
	}
}

func capture(t *testing.T, g *guest, routes ...result.Route) []result.Attempt {
	t.Helper()
	got, err := sysrq.Capture(t.Context(), sysrq.Guest{Monitor: g, Console: g, Chardev: "console", Routes: routes}, sysrq.Scaled(3*time.Second))
	if err != nil {
		t.Error(err)
	}
	return got
}

func hears(rs ...result.Route) map[result.Route]bool {
	m := map[result.Route]bool{}
	for _, r := range rs {
		m[r] = true
	}
	return m
}

func TestTheFirstRouteThatAnswersIsUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &guest{hears: hears(result.Break, result.Keyboard), says: talks}
		for _, a := range capture(t, g, result.Break, result.Keyboard, result.NMI) {
			if a.Route != result.Break {
				t.Errorf("route %s was used although BREAK answers", a.Route)
			}
			want := result.Captured
			if a.Key == "d" {
				want = result.Unsupported
			}
			if a.Yield != want {
				t.Errorf("key %s: %s (%s), want %s", a.Key, a.Yield, a.Note, want)
			}
			if a.Key == "t" && !strings.Contains(string(g.out[a.From:a.To]), "schedule+0x1/0x2") {
				t.Errorf("the dump's range %d-%d holds %q", a.From, a.To, g.out[a.From:a.To])
			}
		}
	})
}

// Kernels 6.19.10 to 7.0.x swallow the BREAK.
func TestASwallowedBreakFallsBackToTheKeyboard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := capture(t, &guest{hears: hears(result.Keyboard), says: talks}, result.Break, result.Keyboard, result.NMI)
		if got[0].Route != result.Break || got[0].Yield != result.NoAnswer {
			t.Errorf("first attempt %+v, want BREAK without an answer", got[0])
		}
		if a, ok := result.Dumped(got, 't'); !ok || a.Route != result.Keyboard {
			t.Errorf("no task dump by keyboard in %+v", got)
		}
	})
}

func TestADeadGuestYieldsNothingOnEveryRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := capture(t, &guest{}, result.Break, result.Keyboard, result.NMI)
		if len(got) != 3 {
			t.Errorf("%d attempts, want one on each route", len(got))
		}
		for _, a := range got {
			if a.Yield != result.NoAnswer || a.From != a.To {
				t.Errorf("%+v, want no answer", a)
			}
		}
	})
}

func TestANoIsAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &guest{hears: hears(result.Break), says: func(byte) []string {
			return []string{"[    9.0] sysrq: This sysrq operation is disabled."}
		}}
		for _, a := range capture(t, g, result.Break, result.Keyboard) {
			if a.Yield != result.Disabled || a.Layer != "kernel" || a.Route != result.Break {
				t.Errorf("%+v, want disabled by the kernel", a)
			}
		}
	})
}

// prints answers each key but the first with that many lines.
func prints(line string, lines int) *guest {
	return &guest{hears: hears(result.Break), says: func(key byte) []string {
		if key == '9' {
			return talks(key)
		}
		return append([]string{"sysrq: Show State"}, slices.Repeat([]string{line}, lines)...)
	}}
}

// A UART that prints twenty lines a second takes longer than a dump may take otherwise.
func TestASlowDumpIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := capture(t, prints("  a line of a task's stack", 1000), result.Break)
		if a, ok := result.Dumped(got, 't'); !ok || a.To-a.From < 20_000 {
			t.Errorf("%+v, want the whole dump", a)
		}
	})
}

func TestAnEndlessDumpIsTorn(t *testing.T) {
	for name, line := range map[string]string{"slow": "  noise", "fast": strings.Repeat("  noise", 100)} {
		t.Run(name, func(t *testing.T) { testEndless(t, prints(line, 3000)) })
	}
}

func testEndless(t *testing.T, g *guest) {
	synctest.Test(t, func(t *testing.T) {
		got := capture(t, g, result.Break)
		if last := got[len(got)-1]; last.Yield != result.Torn {
			t.Errorf("%+v, want torn", last)
		}
		if _, ok := result.Dumped(got, 't'); ok {
			t.Error("a torn dump passes for a capture")
		}
		time.Sleep(time.Minute * 3) // the bubble's clock: let the flood end
	})
}

func TestQEMUsRefusalIsRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, a := range capture(t, &guest{err: errors.New("QMP is gone")}, result.Break, result.NMI) {
			if a.Yield != result.Refused || a.Layer != "qemu" || a.Note != "QMP is gone" {
				t.Errorf("%+v, want refused by QEMU with its reason", a)
			}
		}
	})
}

func TestCaptureEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		_, err := sysrq.Capture(ctx, sysrq.Guest{Monitor: &guest{}, Console: &guest{}, Routes: []result.Route{result.Break}}, sysrq.Scaled(0))
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("err = %v", err)
		}
	})
}

// TestRoutes: the table covers what Results name, and each machine has its own.
func TestRoutes(t *testing.T) {
	for a, want := range map[arch.Arch][2][]result.Route{
		arch.X86_64:  {{result.Break, result.Keyboard}, {result.NMI}},
		arch.AArch64: {{result.Break}, nil},
	} {
		if normal, last := sysrq.Routes(a.Facts(), a.Facts().Machines[0]); !slices.Equal(normal, want[0]) || !slices.Equal(last, want[1]) {
			t.Errorf("%s: %v, at last %v", a, normal, last)
		}
	}
	for r, want := range map[result.Route]sysrq.Disturbance{
		result.Break: {}, result.Keyboard: {FeedsEntropy: true}, result.NMI: {MayReset: true}, "telegraph": {},
	} {
		if got := sysrq.Disturbs(r); got != want {
			t.Errorf("%s disturbs %+v", r, got)
		}
	}
	g := &guest{hears: hears(result.Break), says: talks}
	got, err := sysrq.Capture(t.Context(), sysrq.Guest{Monitor: g, Console: g, Routes: []result.Route{"telegraph", result.Break}}, sysrq.Scaled(0))
	if err == nil || len(got) > 0 {
		t.Errorf("an unknown route: %v, %v", got, err)
	}
}
