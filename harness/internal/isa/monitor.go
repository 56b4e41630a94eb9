package isa

import (
	"regexp"
	"strconv"

	"github.com/unwedge/unwedge/harness/internal/model"
)

// fields are the values that QEMU's monitor shows of one vCPU, by name.
type fields map[string]field

type field struct {
	value uint64
	// base is the second word of a segment register.
	base uint64
}

// maxVCPUs bounds how many vCPUs are read.
const maxVCPUs = 512

var (
	vcpuHead  = regexp.MustCompile(`(?m)^CPU#(\d{1,4})\b`)
	vcpuField = regexp.MustCompile(`\b([A-Z][A-Z0-9]*) ?=([0-9a-f]{1,16})\b(?: ([0-9a-f]{16})\b)?`)
)

// ParseRegisters reads QEMU's text of `info registers -a` (target/i386/cpu-dump.c,
// target/arm/cpu.c). A vCPU whose program counter is not there is left out. It
// returns nil for the empty text only.
func ParseRegisters(text string) []model.VCPU {
	if text == "" {
		return nil
	}
	out := []model.VCPU{}
	heads := vcpuHead.FindAllStringSubmatchIndex(text, maxVCPUs)
	for i, h := range heads {
		end := len(text)
		if i+1 < len(heads) {
			end = heads[i+1][0]
		}
		index, err := strconv.Atoi(text[h[2]:h[3]])
		if err != nil {
			continue
		}
		shown := parseFields(text[h[1]:end])
		for _, a := range table {
			if v, ok := a.monitor(shown); ok {
				v.Index = index
				out = append(out, v)
				break
			}
		}
	}
	return out
}

func parseFields(text string) fields {
	out := fields{}
	for _, m := range vcpuField.FindAllStringSubmatch(text, -1) {
		if _, ok := out[m[1]]; !ok {
			out[m[1]] = field{number(m[2]), number(m[3])}
		}
	}
	return out
}

func number(hex string) uint64 {
	n, _ := strconv.ParseUint(hex, 16, 64) // at most 16 hexadecimal digits, by the expression
	return n
}

// general returns the registers with these names; nil where none is shown.
func (f fields) general(names []string) []uint64 {
	var out []uint64
	for i, n := range names {
		if v, ok := f[n]; ok {
			if out == nil {
				out = make([]uint64, len(names))
			}
			out[i] = v.value
		}
	}
	return out
}
