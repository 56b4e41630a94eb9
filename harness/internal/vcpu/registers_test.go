package vcpu_test

import (
	"context"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/unwedge/unwedge/harness/internal/vcpu"
	"github.com/unwedge/unwedge/harness/result"
)

// The texts are what QEMU 7.2 printed.
const x86Text = "CPU#0\r\nRAX=0000000000000000 RBX=ffffffff8221a940 RCX=0000000000000001 RDX=0000000000000001\r\n" +
	"RSI=0000000000000087 RDI=0000000000000000 RBP=0000000000000000 RSP=ffffffff82203e90\r\n" +
	"RIP=ffffffff81a1be0f RFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=1\r\nES =0000 0000000000000000\r\n\r\n" +
	"CPU#1\r\nRIP=00007f1122334455 RFL=00000202 [-------] CPL=3 II=0 A20=1 SMM=0 HLT=0\r\n"

const x86RealMode = "CPU#0\nEIP=0000b7b9 EFL=00000046 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=0\n"

const armText = "\r\nCPU#0\r\n PC=ffff800008f1a0d4 X00=0000000044000000 X01=0000000000000000\r\n" +
	"X29=0000000000000000 X30=0000000000000000  SP=ffff80000a0f3d10\r\nPSTATE=600003c5 -ZC- EL1h    FPU disabled\r\n\r\n" +
	"CPU#1\r\n PC=0000aaaabbbb0000 X00=0000000000000000\r\nX30=0000000000000000  SP=0000ffffdddd0000\r\nPSTATE=40000000 -Z-- NS EL0t    FPU disabled\r\n"

func TestParse(t *testing.T) {
	x86 := vcpu.Parse(x86Text)
	if len(x86) != 2 || x86[0].PC != 0xffffffff81a1be0f || x86[0].SP != 0xffffffff82203e90 || !x86[0].Halted || x86[0].User || *x86[0].IRQsOff {
		t.Errorf("x86 CPU 0: %+v", x86)
	}
	if !x86[1].User || x86[1].Halted || x86[1].CPU != 1 {
		t.Errorf("x86 CPU 1: %+v", x86[1])
	}
	if real := vcpu.Parse(x86RealMode); len(real) != 1 || real[0].PC != 0xb7b9 || !*real[0].IRQsOff {
		t.Errorf("real mode: %+v", real)
	}
	arm := vcpu.Parse(armText)
	if len(arm) != 2 || arm[0].PC != 0xffff800008f1a0d4 || arm[0].SP != 0xffff80000a0f3d10 || arm[0].User || !*arm[0].IRQsOff {
		t.Errorf("arm64 CPU 0: %+v", arm)
	}
	if !arm[1].User || *arm[1].IRQsOff {
		t.Errorf("arm64 CPU 1: %+v", arm[1])
	}
	for _, text := range []string{"", "CPU#0", "CPU#99999999999999999999\nRIP=0000000000000000", "no vCPU here RIP=0000000000000001"} {
		if got := vcpu.Parse(text); len(got) != 0 {
			t.Errorf("Parse(%q) = %+v, want nothing", text, got)
		}
	}
}

func TestPlacesTellWorkFromSpinning(t *testing.T) {
	spin := []result.CPUSample{
		{PC: 1, Symbol: "delay_tsc+0x1/0x50"}, {PC: 2, Symbol: "delay_tsc+0x9/0x50"}, {PC: 3, Symbol: "__const_udelay+0x1/0x9"},
		{PC: 0x5000, User: true}, {PC: 0x5fff, User: true}, {CPU: 1, PC: 9, Symbol: "idle+0x0/0x9"},
	}
	if got := vcpu.Places(spin); got != 3 {
		t.Errorf("a loop over two functions and one page: %d places, want 3", got)
	}
	var work []result.CPUSample
	for i := range uint64(20) {
		work = append(work, result.CPUSample{PC: i << 12})
	}
	if got := vcpu.Places(work); got != 20 {
		t.Errorf("twenty places without names: %d", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(x86Text)
	f.Add(armText)
	f.Fuzz(func(t *testing.T, text string) {
		for _, s := range vcpu.Parse(text) {
			if s.CPU < 0 {
				t.Errorf("negative vCPU in %+v", s)
			}
		}
	})
}

type answers map[string]any

func (a answers) Execute(_ context.Context, cmd string, _, out any) error {
	b, err := json.Marshal(a[cmd])
	if err != nil {
		return err
	}
	return json.Unmarshal(b, out)
}

func TestRegistersNamesKernelAddressesOnly(t *testing.T) {
	sym := func(uint64) (string, bool) { return "here+0x1", true }
	got, text, err := vcpu.Registers(t.Context(), answers{"human-monitor-command": x86Text}, sym)
	if err != nil || text != x86Text {
		t.Fatal(text, err)
	}
	if got[0].Symbol != "here+0x1" || got[1].Symbol != "" {
		t.Errorf("symbols %q and %q, want the kernel's address named, the user's not", got[0].Symbol, got[1].Symbol)
	}
}

// A thread that cannot be read must never look idle.
func TestMeterCallsUnknownBusy(t *testing.T) {
	at := time.Unix(0, 0)
	now := func() time.Time { at = at.Add(time.Second); return at }
	m := vcpu.NewMeter(os.Getpid(), []vcpu.CPU{{Index: 0, Thread: 1 << 30}}, now)
	if got := m.Sample(); len(got) != 1 || got[0] != 1 {
		t.Errorf("a thread that is not there: %v, want 1", got)
	}
}

// The test's clock runs an hour while a sleeping thread uses none of it.
func TestMeterSeesAnIdleThread(t *testing.T) {
	if _, err := os.Stat("/proc/self/schedstat"); err != nil {
		t.Skip("this host keeps no schedstat")
	}
	at := time.Unix(0, 0)
	now := func() time.Time { at = at.Add(time.Hour); return at }
	m := vcpu.NewMeter(os.Getpid(), []vcpu.CPU{{Index: 0, Thread: os.Getpid()}}, now)
	if got := m.Sample(); got[0] > 0.01 {
		t.Errorf("share %v of an hour, want nearly none", got)
	}
}

// samples are n looks at one vCPU; state gives its registers.
func samples(cpu, n int, state func(i int) uint64) []result.CPUSample {
	var out []result.CPUSample
	for i := range n {
		out = append(out, result.CPUSample{CPU: cpu, State: state(i)})
	}
	return out
}

func TestFrozen(t *testing.T) {
	same := func(int) uint64 { return 7 }
	moving := func(i int) uint64 { return uint64(i + 1) }
	ticking := func(i int) uint64 { // interrupts are taken
		if i%4 == 3 {
			return uint64(100 + i)
		}
		return 7
	}
	busy := func(cpu int) vcpu.Load { return vcpu.Load{CPU: cpu, Busy: 1, Ran: time.Second} }
	idle := func(cpu int) vcpu.Load { return vcpu.Load{CPU: cpu, Busy: 0.03, Ran: 30 * time.Millisecond} }
	halted := samples(0, 24, same)
	for i := range halted {
		halted[i].Halted = true
	}
	shared := samples(1, 24, same) // it halts, on the thread of the one that loops
	for i := range shared {
		shared[i].Halted = true
	}
	for name, tc := range map[string]struct {
		samples []result.CPUSample
		loads   []vcpu.Load
		want    bool
	}{
		"a loop, the other halted":      {append(samples(0, 24, same), shared...), []vcpu.Load{busy(0), busy(1)}, true},
		"a loop":                        {samples(0, 24, same), []vcpu.Load{busy(0)}, true},
		"a loop with interrupts on":     {samples(0, 24, ticking), []vcpu.Load{busy(0)}, true},
		"it computes":                   {samples(0, 24, moving), []vcpu.Load{busy(0)}, false},
		"a loop, the other idles":       {append(samples(0, 24, same), samples(1, 24, moving)...), []vcpu.Load{busy(0), idle(1)}, true},
		"a loop, the other computes":    {append(samples(0, 24, same), samples(1, 24, moving)...), []vcpu.Load{busy(0), busy(1)}, false},
		"all idle":                      {samples(0, 24, same), []vcpu.Load{idle(0)}, false},
		"now and then":                  {samples(0, 24, same), []vcpu.Load{{Busy: 0.5, Ran: time.Second}}, false},
		"halted at each look":           {halted, []vcpu.Load{busy(0)}, false},
		"the host did not run it":       {samples(0, 24, same), []vcpu.Load{{Busy: 1, Ran: 10 * time.Millisecond}}, false},
		"too few looks":                 {samples(0, 5, same), []vcpu.Load{busy(0)}, false},
		"no registers were shown":       {samples(0, 24, func(int) uint64 { return 0 }), []vcpu.Load{busy(0)}, false},
		"nothing is known of the vCPUs": {samples(0, 24, same), nil, false},
	} {
		if got := vcpu.Frozen(tc.samples, tc.loads); got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}

func TestRests(t *testing.T) {
	// at puts a vCPU into each place for as many samples.
	at := func(cpu int, places map[string]int) []result.CPUSample {
		var out []result.CPUSample
		for symbol, n := range places {
			for range n {
				out = append(out, result.CPUSample{CPU: cpu, Symbol: symbol})
			}
		}
		return out
	}
	yes, no := true, false
	halted := func(irqsOff *bool) []result.CPUSample {
		return slices.Repeat([]result.CPUSample{{Halted: true, IRQsOff: irqsOff}}, 24)
	}
	resting := at(0, map[string]int{"cpu_do_idle+0xc/0x14": 22, "mutex_lock+0x6c/0x90": 1, "arch_counter_read+0x20/0x30": 1})
	for name, tc := range map[string]struct {
		samples []result.CPUSample
		want    bool
	}{
		"idle but for its ticks":        {resting, true},
		"halted":                        {halted(&no), true},
		"stopped":                       {halted(&yes), false},
		"half idle":                     {at(0, map[string]int{"cpu_do_idle": 12, "memcpy": 12}), false},
		"one idles, the other works":    {append(resting, at(1, map[string]int{"memcpy": 24})...), false},
		"both idle":                     {append(resting, at(1, map[string]int{"default_idle": 24})...), true},
		"too few looks":                 {at(0, map[string]int{"cpu_do_idle": 5}), false},
		"nothing is known of the vCPUs": {nil, false},
	} {
		if got := vcpu.Rests(tc.samples); got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}

// The program counter and the flags move in the tightest loop; the others do not.
func TestStateIsTheGeneralRegisters(t *testing.T) {
	for name, text := range map[string]string{"x86": x86Text, "arm64": armText} {
		one := vcpu.Parse(text)
		pc := regexp.MustCompile(`(RIP|PC)=[0-9a-f]{15}.`).ReplaceAllString(text, "${1}=00000000000000ff")
		if two := vcpu.Parse(pc); one[0].State == 0 || one[0].State != two[0].State {
			t.Errorf("%s: state %x, with another program counter %x", name, one[0].State, two[0].State)
		}
		for _, reg := range []string{"RCX", "R9 ", "R15", "X00", "X29", "SP"} {
			other := regexp.MustCompile(`\b`+reg+`=([0-9a-f]{15}).`).ReplaceAllString(text, reg+"=${1}e")
			if other != text && vcpu.Parse(other)[0].State == one[0].State {
				t.Errorf("%s: %s does not count", name, reg)
			}
		}
	}
}
