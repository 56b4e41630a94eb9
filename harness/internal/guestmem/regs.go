package guestmem

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/guestmem/unwind"
)

// VCPU is the registers of one vCPU in 64-bit mode. Regs.Stack is left out: Look
// finds it.
type VCPU struct {
	Index  int
	Regs   unwind.Registers
	GSBase uint64 // x86_64 only
	Halted bool   // x86_64 only
}

// maxVCPUs bounds how many are read of the text.
const maxVCPUs = 512

var (
	vcpuHead = regexp.MustCompile(`(?m)^CPU#(\d{1,4})`)
	vcpuReg  = regexp.MustCompile(`\b(RAX|RDX|RDI|RBP|RSP|R10|R13|RIP|PC|SP|X29|X30) ?=([0-9a-f]{16})\b`)
	vcpuGS   = regexp.MustCompile(`(?m)^GS =[0-9a-f]{4} ([0-9a-f]{16})`)
	vcpuCPL  = regexp.MustCompile(`\bCPL=(\d).*\bHLT=(\d)`)
	vcpuEL   = regexp.MustCompile(`\bPSTATE=[0-9a-f]{8} .*\bEL(\d)`)
)

// ParseRegisters reads QEMU's text of `info registers -a` (target/i386/cpu-dump.c
// and target/arm/cpu.c). A vCPU that is not in 64-bit mode has no program counter
// there and is left out. It returns nil for the empty text only.
func ParseRegisters(text string) []VCPU {
	if text == "" {
		return nil
	}
	text = strings.ReplaceAll(text, "\r", "")
	heads := vcpuHead.FindAllStringSubmatchIndex(text, maxVCPUs)
	out := []VCPU{}
	for i, h := range heads {
		end := len(text)
		if i+1 < len(heads) {
			end = heads[i+1][0]
		}
		v := VCPU{}
		v.Index, _ = strconv.Atoi(text[h[2]:h[3]]) // digits, by the expression
		if v.parse(text[h[1]:end]) {
			out = append(out, v)
		}
	}
	return out
}

func (v *VCPU) parse(text string) (ok bool) {
	r := &v.Regs
	for _, m := range vcpuReg.FindAllStringSubmatch(text, 64) {
		n := number(m[2])
		switch m[1] {
		case "RIP", "PC":
			r.PC, ok = n, true
		case "RSP", "SP":
			r.SP = n
		case "RBP", "X29":
			r.FP = n
		case "X30":
			r.LR = n
		case "RAX":
			r.AX = n
		case "RDX":
			r.DX = n
		case "RDI":
			r.DI = n
		case "R10":
			r.R10 = n
		case "R13":
			r.R13 = n
		}
	}
	if m := vcpuGS.FindStringSubmatch(text); m != nil {
		v.GSBase = number(m[1])
	}
	if m := vcpuCPL.FindStringSubmatch(text); m != nil {
		r.User, v.Halted = m[1] == "3", m[2] == "1"
	}
	if m := vcpuEL.FindStringSubmatch(text); m != nil {
		r.User = m[1] == "0"
	}
	return ok
}

func number(hex string) uint64 {
	n, _ := strconv.ParseUint(hex, 16, 64) // hexadecimal digits, by the expressions
	return n
}
