package guestmem_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/unwedge/unwedge/harness/internal/guestmem"
	"github.com/unwedge/unwedge/harness/internal/guestmem/physmem"
	"github.com/unwedge/unwedge/scenarios/arch"
)

func TestRunningKernel(t *testing.T) {
	const info = "OSRELEASE=6.1.0-50-cloud-amd64\nBUILD-ID=0123456789abcdef0123456789abcdef01234567\nPAGESIZE=4096\n"
	for name, tc := range map[string]struct {
		pages map[int]string
		want  guestmem.Running
		err   bool
	}{
		"a kernel":          {map[int]string{5: info}, guestmem.Running{Release: "6.1.0-50-cloud-amd64", BuildID: "0123456789abcdef0123456789abcdef01234567"}, false},
		"two copies":        {map[int]string{5: info, 2000: info}, guestmem.Running{Release: "6.1.0-50-cloud-amd64", BuildID: "0123456789abcdef0123456789abcdef01234567"}, false},
		"before 5.9":        {map[int]string{0: "OSRELEASE=5.4.0\nPAGESIZE=4096\n"}, guestmem.Running{Release: "5.4.0"}, false},
		"none":              {nil, guestmem.Running{}, true},
		"a text like it":    {map[int]string{7: "OSRELEASE=5.4.0\n"}, guestmem.Running{}, true},
		"two, after kexec":  {map[int]string{5: info, 6: "OSRELEASE=5.4.0\nPAGESIZE=4096\n"}, guestmem.Running{}, true},
		"not at the page's": {map[int]string{7: " " + info}, guestmem.Running{}, true},
		"a hostile release": {map[int]string{7: "OSRELEASE=\x1b[31m\nPAGESIZE=4096\n"}, guestmem.Running{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			ram := make([]byte, 9<<20+4096)
			for page, text := range tc.pages {
				copy(ram[page*4096:], text)
			}
			m := physmem.New(bytes.NewReader(ram), physmem.Ranges(arch.AArch64, uint64(len(ram))))
			got, err := guestmem.RunningKernel(t.Context(), m)
			if got != tc.want || (err != nil) != tc.err {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
	if _, err := guestmem.RunningKernel(t.Context(), physmem.New(bytes.NewReader(nil), nil)); !errors.Is(err, guestmem.ErrNoKernel) {
		t.Errorf("no memory: %v", err)
	}
}
