package guestmem

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/unwedge/unwedge/harness/guestmem/unwind"
)

// vcpu is one vCPU of QEMU's `info registers -a`.
type vcpu struct {
	index  int
	regs   unwind.Registers
	gsBase uint64 // x86_64 only
	halted bool   // x86_64 only
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

// parseRegisters reads the text (QEMU, target/i386/cpu-dump.c and
// target/arm/cpu.c). A vCPU that is not in 64-bit mode has no program counter
// there and is left out.
func parseRegisters(text string) []vcpu {
	text = strings.ReplaceAll(text, "\r", "")
	heads := vcpuHead.FindAllStringSubmatchIndex(text, maxVCPUs)
	var out []vcpu
	for i, h := range heads {
		end := len(text)
		if i+1 < len(heads) {
			end = heads[i+1][0]
		}
		v := vcpu{}
		v.index, _ = strconv.Atoi(text[h[2]:h[3]]) // digits, by the expression
		if v.parse(text[h[1]:end]) {
			out = append(out, v)
		}
	}
	return out
}

func (v *vcpu) parse(text string) (ok bool) {
	r := &v.regs
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
		v.gsBase = number(m[1])
	}
	if m := vcpuCPL.FindStringSubmatch(text); m != nil {
		r.User, v.halted = m[1] == "3", m[2] == "1"
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
