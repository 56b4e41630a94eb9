package mutate

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/unwedge/unwedge/scenarios/arch"
)

// Fault is what a mutated function does instead of its work. Its String is
// what ParseFault reads.
type Fault interface {
	fmt.Stringer
	// code is the machine code that the function runs right behind its
	// entry hooks, position independent.
	code(a arch.Arch) ([]byte, error)
}

// Return makes the function return 0 at once, or nothing where it is void.
var Return Fault = returns(0)

// ReturnError makes the function return a negative errno at once, such as
// ReturnError(-12) for -ENOMEM. The value is between -4095 and -1 (MAX_ERRNO,
// include/linux/err.h).
func ReturnError(errno int) (Fault, error) {
	if errno > -1 || errno < -4095 {
		return nil, fmt.Errorf("return value %d is no error: want -4095 to -1", errno)
	}
	return returns(errno), nil
}

// ParseFault reads "return" or "return:-12".
func ParseFault(s string) (Fault, error) {
	kind, value, has := strings.Cut(s, ":")
	if kind != "return" {
		return nil, fmt.Errorf("unknown fault %q: use return or return:-ERRNO", s)
	}
	if !has {
		return Return, nil
	}
	n, err := strconv.Atoi(value)
	if err != nil {
		return nil, fmt.Errorf("fault %q: %q is not a number", s, value)
	}
	return ReturnError(n)
}

type returns int

func (r returns) String() string {
	if r == 0 {
		return "return"
	}
	return fmt.Sprintf("return:%d", int(r))
}

func (r returns) code(a arch.Arch) ([]byte, error) {
	le := binary.LittleEndian
	switch {
	case a == arch.X86_64 && r == 0:
		return []byte{0x31, 0xc0, 0xc3}, nil // xor eax,eax; ret
	case a == arch.X86_64:
		return append(le.AppendUint32([]byte{0x48, 0xc7, 0xc0}, uint32(int32(r))), 0xc3), nil // mov rax,imm32; ret
	case a == arch.AArch64:
		mov := uint32(0xd2800000) // mov x0, #0
		if r != 0 {
			mov = 0x92800000 | uint32(-r-1)<<5 // movn x0, #(-r-1)
		}
		return le.AppendUint32(le.AppendUint32(nil, mov), 0xd65f03c0), nil // ret
	}
	return nil, fmt.Errorf("no code for architecture %q", a)
}
