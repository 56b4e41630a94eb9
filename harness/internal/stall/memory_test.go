package stall

import (
	"errors"
	"fmt"
	"testing"

	"github.com/unwedge/unwedge/harness/internal/guestmem/locate"
	"github.com/unwedge/unwedge/harness/result"
)

// A kernel whose MMU is off runs at physical addresses. What has a name keeps it.
func TestEarlyKernelIsNamed(t *testing.T) {
	symbol := func(addr uint64) (string, bool) { return "early+0x4/0x8", addr == 0xffff800008000104 }
	samples := func() []result.CPUSample {
		return []result.CPUSample{{PC: 0x40200104}, {PC: 0x40200104, Symbol: "kept"}, {PC: 0x40200104, User: true}, {PC: 0x500}}
	}
	moved := uint64(0x40200000)
	moved -= 0xffff800008000000
	got := samples()
	namedEarly(got, symbol, fmt.Errorf("look: %w", &locate.EarlyError{Moved: moved}))
	for i, want := range []string{"early+0x4/0x8", "kept", "", ""} {
		if got[i].Symbol != want {
			t.Errorf("sample %d is named %q, want %q", i, got[i].Symbol, want)
		}
	}
	for _, err := range []error{nil, errors.New("other"), locate.ErrEarly} {
		got := samples()
		if namedEarly(got, symbol, err); got[0].Symbol != "" {
			t.Errorf("%v: named %q", err, got[0].Symbol)
		}
	}
}
