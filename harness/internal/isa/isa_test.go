package isa_test

import (
	"reflect"
	"testing"

	"github.com/unwedge/unwedge/harness/internal/isa"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// optional are the fields that an architecture may leave empty.
var optional = map[string]bool{
	"TraceArgs": true, "FirstLine": true, "Current": true, "LinkLive": true, "Voffset": true, "Raw": true,
	"Relative": true, "Refs": true, "Switch": true, "RAMBase": true,
}

func TestEveryArchitectureIsWhole(t *testing.T) {
	for _, a := range arch.All() {
		i := isa.Of(a)
		if i == nil {
			t.Errorf("%s is not in the table", a)
			continue
		}
		v := reflect.ValueOf(i).Elem()
		for n := range v.NumField() {
			if name := v.Type().Field(n).Name; v.Field(n).IsZero() && !optional[name] {
				t.Errorf("%s has no %s", a, name)
			}
		}
		if i.DWARF.LR >= 0 && i.LinkLive == nil {
			t.Errorf("%s has a link register and no LinkLive", a)
		}
	}
}

func TestUnknownArchitecture(t *testing.T) {
	if i := isa.Of("riscv64"); i != nil || i.Syscall(1) != "" || i.SyscallNumber("read") != -1 {
		t.Errorf("riscv64: %+v", i)
	}
	if i, err := isa.Find("riscv64"); i != nil || err == nil {
		t.Errorf("riscv64: %v, %v", i, err)
	}
	if i := isa.ByMachine(243); i != nil { // EM_RISCV
		t.Errorf("EM_RISCV: %v", i.Arch)
	}
	if a := isa.ByFirstLine([]byte("Booting Linux on physical CPU 0x0")); a != "" { // 32-bit arm
		t.Errorf("first line of arm: %s", a)
	}
}

func TestSyscalls(t *testing.T) {
	for _, i := range isa.All() {
		for nr, name := range i.Syscalls {
			if name != "" && (i.Syscall(nr) != name || i.SyscallNumber(name) != nr) {
				t.Errorf("%s: %d is %q, %q is %d", i.Arch, nr, i.Syscall(nr), name, i.SyscallNumber(name))
			}
		}
		if i.Syscall(-1) != "" || i.Syscall(1<<30) != "" || i.SyscallNumber("") != -1 {
			t.Errorf("%s knows system calls that do not exist", i.Arch)
		}
	}
}
