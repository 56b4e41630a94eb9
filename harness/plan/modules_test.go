package plan

import (
	"slices"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/images/kernel"
)

// A kernel that was built without modules has its drivers built in, or has none.
func TestModulesOfAKernelWithoutModules(t *testing.T) {
	config, err := kernel.ParseConfig(strings.NewReader("CONFIG_VIRTIO_PCI=y\n"))
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"virtio_pci", "virtio_rng", "other"}
	for _, tc := range []struct {
		config *kernel.Config
		want   []string
	}{{config, []string{"virtio_rng", "other"}}, {nil, names}} {
		if got := notBuiltIn(tc.config, slices.Clone(names)); !slices.Equal(got, tc.want) {
			t.Errorf("not built in: %v, want %v", got, tc.want)
		}
	}
}
