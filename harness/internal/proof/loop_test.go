package proof

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/harness/internal/guestmem"
	"github.com/unwedge/unwedge/harness/internal/isa"
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/harness/internal/probe/gdb"
	"github.com/unwedge/unwedge/harness/internal/probe/gdb/gdbtest"
	"github.com/unwedge/unwedge/scenarios/arch"
)

const (
	textAt = 0xffffffff81000000
	dataAt = 0xffffffff82000000
	mmioAt = 0xffffc90000000000
)

// stepped runs a program of x86 code: each step goes to the next address of the path, round
// and round, and change may change the registers.
func stepped(t *testing.T, code string, path []uint64, flags uint64, change func(regs map[int]uint64)) (Loop, error) {
	t.Helper()
	g := isa.Of(arch.X86_64).GDB
	regs := map[int]uint64{}
	for n := range g.General {
		regs[n] = 0
	}
	regs[g.PC], regs[g.Flags], regs[0], regs[1], regs[g.SP] = textAt+path[0], flags, dataAt, mmioAt, dataAt+0x1000
	memory := map[uint64]byte{}
	for i := range maxSteps + maxInsn {
		memory[textAt+uint64(i)] = 0xcc
	}
	for i := range len(code) {
		memory[textAt+uint64(i)] = code[i]
	}
	at := 0
	stub := &gdbtest.Stub{Regs: map[string]map[int]uint64{"01": regs}, Memory: memory, Run: func(_ *gdbtest.Stub, thread string) string {
		at++
		regs[g.PC] = textAt + path[at%len(path)]
		if change != nil {
			change(regs)
		}
		return "T05thread:" + thread + ";"
	}}
	ours, theirs := net.Pipe()
	go stub.Serve(theirs)
	c, err := gdb.Attach(t.Context(), ours)
	if err != nil {
		t.Fatal(err)
	}
	l, err := Stepped(t.Context(), c, 0, isa.Of(arch.X86_64), func(_ context.Context, a uint64) bool { return a>>32 == dataAt>>32 })
	if bad := c.Detach(t.Context()); bad != nil {
		t.Error(bad)
	}
	return l, err
}

func TestStepped(t *testing.T) {
	const on, off = 0x246, 0x46
	user := uint64(0x7f0000000000)
	user -= textAt
	count := func(regs map[int]uint64) { regs[2]++ }
	for name, tt := range map[string]struct {
		code   string
		path   []uint64
		flags  uint64
		change func(map[int]uint64)
		want   Loop
		why    string
	}{
		"jmp .":                    {"\xeb\xfe", []uint64{0}, on, nil, Loop{Insns: 1, PC: textAt}, ""},
		"cli; jmp":                 {"\xfa\xeb\xfd", []uint64{0, 1}, off, nil, Loop{Insns: 2, PC: textAt, Deaf: true}, ""},
		"a lock: pause; cmp; jne":  {"\xf3\x90\x83\x38\x00\x75\xf9", []uint64{0, 2, 5}, off, nil, Loop{Insns: 3, PC: textAt, Deaf: true, Reads: true}, ""},
		"the same of a device":     {"\xf3\x90\x83\x3b\x00\x75\xf9", []uint64{0, 2, 5}, off, nil, Loop{}, "may read a device"},
		"call and return":          {"\xe8\x03\x00\x00\x00\xeb\xf9\x90\xc3", []uint64{0, 8, 5}, on, nil, Loop{Insns: 3, PC: textAt}, ""},
		"it counts in a register":  {"\xeb\xfe", []uint64{0}, on, count, Loop{}, "does not come back"},
		"it counts in memory":      {"\xff\x00\xeb\xfc", []uint64{0, 2}, off, nil, Loop{}, "not in registers and memory alone"},
		"it reads the clock":       {"\x0f\x31\xeb\xfc", []uint64{0, 2}, off, nil, Loop{}, "not in registers and memory alone"},
		"it reads a port":          {"\xec\xeb\xfd", []uint64{0, 1}, off, nil, Loop{}, "not in registers and memory alone"},
		"it exchanges with memory": {"\x87\x08\xeb\xfc", []uint64{0, 2}, off, nil, Loop{}, "not in registers and memory alone"},
		"a program":                {"", []uint64{user}, on, nil, Loop{}, "not in the kernel"},
	} {
		got, err := stepped(t, tt.code, tt.path, tt.flags, tt.change)
		if tt.why != "" {
			if !IsNoLoop(err) || !strings.Contains(err.Error(), tt.why) {
				t.Errorf("%s: %+v, %v, want %q", name, got, err, tt.why)
			}
			continue
		}
		if err != nil || got != tt.want {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, tt.want)
		}
	}
}

// Each step may go wrong as any command may: that is no word on the guest.
func TestSteppedWithoutAStub(t *testing.T) {
	ours, theirs := net.Pipe()
	stub := &gdbtest.Stub{Regs: map[string]map[int]uint64{"01": {}}}
	go stub.Serve(theirs)
	c, err := gdb.Attach(t.Context(), ours)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Stepped(t.Context(), c, 0, isa.Of(arch.X86_64), nil); err == nil || IsNoLoop(err) {
		t.Errorf("%v", err)
	}
}

func TestSpinning(t *testing.T) {
	deaf, pure, reads := Loop{Insns: 3, Deaf: true, Reads: true}, Loop{Insns: 1}, Loop{Insns: 3, Reads: true}
	ticks := func(l *Look) { l.View.Jiffies += 50 }
	busy := func(l *Look) { l.View.CPUs = []model.CPU{{PID: 1}} }
	if got, ok := Deaf([]Loop{deaf, deaf}); !ok || !got.Closed || len(got.Facts) != 2 {
		t.Errorf("%+v", got)
	}
	for _, some := range [][]Loop{nil, {deaf, pure}} {
		if got, ok := Deaf(some); ok {
			t.Errorf("%+v", got)
		}
	}
	for name, tt := range map[string]struct {
		loops []Loop
		b     Look
		why   string
	}{
		"nothing else ran":        {[]Loop{pure}, asleep(busy, ticks), ""},
		"it reads memory":         {[]Loop{reads}, asleep(busy, ticks), "what an interrupt may bring"},
		"the clock stood":         {[]Loop{pure}, asleep(busy), "has not ticked"},
		"a kernel thread ran":     {[]Loop{pure}, asleep(busy, ticks, func(l *Look) { l.View.Tasks[2].Switches++ }), "kcompactd0 (PID 20) ran"},
		"a task came":             {[]Loop{pure}, asleep(busy, ticks, func(l *Look) { l.View.Tasks = append(l.View.Tasks, model.Task{PID: 50}) }), "came or went"},
		"another vCPU":            {[]Loop{pure}, asleep(ticks, func(l *Look) { l.View.CPUs = make([]model.CPU, 2) }), "not every vCPU"},
		"memory cannot be read":   {[]Loop{pure}, Look{}, "not all tasks"},
		"some tasks only":         {[]Loop{pure}, Look{View: &guestmem.View{Jiffies: 1}}, "not all tasks"},
		"a deaf one may read RAM": {[]Loop{deaf}, asleep(busy, ticks), ""},
	} {
		if got := Spinning(tt.loops, asleep(busy), tt.b); got.Closed != (tt.why == "") || !strings.Contains(got.Why, tt.why) {
			t.Errorf("%s: %+v, want %q", name, got, tt.why)
		}
	}
}
