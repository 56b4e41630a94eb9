package cli

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/display"
	"github.com/unwedge/unwedge/harness/report"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/images/progress"
)

type kernelsFlags struct {
	arch            string
	asJSON, refresh bool
}

func (a *app) kernelsCmd() *cobra.Command {
	var f kernelsFlags
	cmd := &cobra.Command{
		Use:   "kernels PATTERN",
		Short: "List released kernels that match a pattern, oldest first",
		Long: `List released kernels in version order, with the argument for ` + "`unwedge boot`" + `.
PATTERN is what ` + "`unwedge bisect --packages`" + ` takes:

  deb:NAME[@SUITE,...]  packages in the Debian archive. NAME may have wildcards, or
                        be a metapackage, for all kernels of its flavour. Without
                        suites, all that have kernels are searched.
  DIRECTORY             packages, kernel files and build trees in it
  './*.deb'             files`,
		Example: `  unwedge kernels deb:linux-image-cloud-amd64
  unwedge kernels 'deb:linux-image-6.1*-arm64@bookworm,bookworm-security'
  unwedge kernels ~/old-kernels --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return a.listKernels(c.Context(), args[0], f) },
	}
	fs := cmd.Flags()
	fs.StringVar(&f.arch, "arch", "", "architecture, if the pattern matches several")
	fs.BoolVar(&f.asJSON, "json", false, "print JSON")
	fs.BoolVar(&f.refresh, "refresh", false, "refetch the archive's package lists, which are fetched once a day")
	return cmd
}

func (a *app) listKernels(ctx context.Context, pattern string, f kernelsFlags) error {
	want, err := parseArch(f.arch)
	if err != nil {
		return err
	}
	p, err := a.planner()
	if err != nil {
		return err
	}
	d := display.New(a.stderr, a.quiet)
	defer d.Close()
	l, err := candidate.ListPackages(progress.With(ctx, d), pattern, candidate.Options{Arch: want, Mirror: p.Mirror, Cache: p.Store, Refresh: f.refresh})
	if err != nil {
		return err
	}
	for _, n := range l.Notes {
		d.Say("note: " + n)
	}
	d.Close()
	if f.asJSON {
		return report.JSON(a.stdout, append([]candidate.PackageVersion{}, l.Packages...))
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "KERNEL\tFLAVOUR\tSIZE\tMODULES\tARGUMENT")
	for _, k := range l.Packages {
		modules := "yes"
		switch {
		case k.LacksModules():
			modules = "gone"
		case k.Bare:
			modules = "none"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", k.Upstream, console.Sanitize(k.Flavour), mebibytes(k.Size), modules, console.Sanitize(k.Arg))
	}
	return w.Flush()
}
