package cli

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/report"
	"github.com/unwedge/unwedge/scenarios"
)

func (a *app) scenariosCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "scenarios [NAME]",
		Short: "List scenarios, or the cells of one",
		Example: `  unwedge scenarios
  unwedge scenarios distro
  unwedge scenarios --scenarios my.yaml --json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return a.listScenarios(args, asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print all cells as JSON")
	return cmd
}

func (a *app) listScenarios(args []string, asJSON bool) error {
	cat, err := a.catalogue()
	if err != nil {
		return err
	}
	if len(args) == 1 {
		t, err := cat.Find(args[0])
		if err != nil {
			return usage.Wrap(err)
		}
		cat = scenarios.Catalogue{t}
	}
	if asJSON {
		var cells []scenarios.Scenario
		for _, t := range cat {
			cells = append(cells, t.Cells()...)
		}
		return report.JSON(a.stdout, cells)
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	if len(args) == 1 {
		fmt.Fprintln(w, "CELL\tROOT\tMEMORY\tCPUS\tEXPECTED")
		for _, c := range cat[0].Cells() {
			fmt.Fprintf(w, "%s\t%s\t%d MiB\t%d\t%s\n", c.Name, c.Root, c.MemoryMiB, c.CPUs, expected(c))
		}
		return w.Flush()
	}
	fmt.Fprintln(w, "NAME\tCELLS\tEXPECTED\tDESCRIPTION")
	for _, t := range cat {
		cells := t.Cells()
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", t.Name, len(cells), expected(cells[0]), t.Description)
	}
	return w.Flush()
}

func expected(c scenarios.Scenario) string {
	s := string(c.ExpectedOutcome())
	if c.ExpectedOutcome() == scenarios.Booted {
		s += " to " + string(c.BootedStage())
	}
	if c.Expect.Cause != "" {
		s += " (" + c.Expect.Cause + ")"
	}
	return s
}
