package cli

import (
	"github.com/spf13/cobra"

	"github.com/unwedge/unwedge/harness/internal/probe"
	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/result"
)

// addProbeFlag adds --probe, which may stand without a value.
func addProbeFlag(cmd *cobra.Command, words *[]string) {
	fs := cmd.Flags()
	fs.StringSliceVar(words, "probe", nil,
		"experiment on a hung guest once it has been captured: --probe for all, or --probe=NAME,... from fail-syscall, input, virtio-rng")
	fs.Lookup("probe").NoOptDefVal = "all"
}

func parseProbes(words []string) ([]result.ProbeName, error) {
	names, err := probe.Parse(words)
	if err != nil {
		return nil, usage.Errorf("--probe: %w", err)
	}
	return names, nil
}
