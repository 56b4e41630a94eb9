package stall

import (
	"testing"

	"github.com/unwedge/unwedge/harness/result"
)

// The last sample of a loop that takes interrupts may well lie in one.
func TestVCPUFactsNameThePlaceSeenMost(t *testing.T) {
	got := vcpuFacts(&Finding{Registers: []result.CPUSample{
		{PC: 5, Symbol: "spin_here+0x5/0x6b"}, {CPU: 1, PC: 7, Symbol: "other+0x7/0x8"},
		{PC: 9, Symbol: "tick+0x1/0x20"}, {PC: 6, Symbol: "spin_here+0x6/0x6b"}, {PC: 10, Symbol: "tick_end+0x1/0x20"},
	}})
	if len(got) != 2 || got[0].Symbol != "spin_here+0x6/0x6b" || got[0].PC != 6 || got[0].BusyFraction != 1 || got[1].PC != 7 {
		t.Errorf("%+v", got)
	}
}

// Of a busy guest with two vCPUs, one may idle.
func TestVCPUFactsTellWhichOneIdles(t *testing.T) {
	on := false
	got := vcpuFacts(&Finding{Registers: []result.CPUSample{
		{PC: 5, Symbol: "native_safe_halt+0xb/0x10", Halted: true, IRQsOff: &on}, {CPU: 1, PC: 7, Symbol: "spin_here+0x7/0x8"},
		{PC: 5, Symbol: "cpu_do_idle+0xc/0x14"}, {CPU: 1, PC: 7, Symbol: "spin_here+0x7/0x8"},
	}})
	if len(got) != 2 || !got[0].Idle || got[0].BusyFraction != 0 || got[1].Idle || got[1].BusyFraction != 1 {
		t.Errorf("%+v", got)
	}
}
