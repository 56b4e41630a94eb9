package plan

import (
	"slices"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/images/kernel"
	"github.com/unwedge/unwedge/images/tiny"
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
		c := &candidate.Candidate{Kernel: &kernel.Kernel{Config: tc.config}}
		missing, err := addModules(&tiny.Options{}, c, names)
		if err != nil || !slices.Equal(missing, tc.want) {
			t.Errorf("missing %v, %v; want %v", missing, err, tc.want)
		}
	}
}
