package hostclass

import (
	"strings"
	"testing"
)

func TestModel(t *testing.T) {
	for in, want := range map[string]string{
		"processor\t: 0\nmodel name\t: AMD  EPYC 7763 64-Core Processor\n\nprocessor\t: 1\nmodel name\t: other\n": "AMD EPYC 7763 64-Core Processor",
		"processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n":                                            "CPU implementer 0x41 part 0xd0c",
		"": "",
	} {
		if got := modelOf(strings.NewReader(in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if h := Here(); !strings.Contains(h, " CPUs") {
		t.Errorf("this machine: %q", h)
	}
}
