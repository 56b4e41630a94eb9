package cli

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/display"
	"github.com/unwedge/unwedge/harness/report"
	"github.com/unwedge/unwedge/images/cache"
	"github.com/unwedge/unwedge/images/progress"
)

func (a *app) imagesCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "images", Short: "Build, list and prune cached images and kernels",
		Args: unknownCommand, RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
		Long: `The cache holds what takes long to make: unpacked kernels, root file systems and
initramfs images. It is $UNWEDGE_CACHE, else $XDG_CACHE_HOME/unwedge.`,
	}
	cmd.AddCommand(a.imagesBuildCmd(), a.imagesListCmd(), a.imagesPruneCmd())
	return cmd
}

func (a *app) imagesBuildCmd() *cobra.Command {
	var f matrixFlags
	cmd := &cobra.Command{
		Use:   "build [KERNEL...]",
		Short: "Build the images that scenarios need for kernels, without booting",
		Example: `  unwedge images build
  unwedge images build --image-release trixie
  unwedge images build -s distro ./linux-image-7.3_amd64.deb`,
		RunE: func(c *cobra.Command, args []string) error { return a.buildImages(c.Context(), args, f) },
	}
	fs := cmd.Flags()
	fs.StringSliceVarP(&f.scenarios, "scenario", "s", []string{"distro"}, "scenarios to build images for")
	fs.StringSliceVar(&f.arch, "arch", nil, "only these architectures")
	addReleases(cmd, &f.releases)
	return cmd
}

func (a *app) buildImages(ctx context.Context, args []string, f matrixFlags) error {
	p, err := a.planner()
	if err != nil {
		return err
	}
	d := display.New(a.stderr, a.quiet)
	defer d.Close()
	ctx = progress.With(ctx, d)
	cells, err := a.boots(ctx, p, args, f)
	if err != nil {
		return err
	}
	for _, c := range cells {
		req, err := p.Request(ctx, c.Scenario, c.Kernel)
		if err != nil {
			return err
		}
		fmt.Fprintf(a.stdout, "%s  %s\n", c.Scenario.Name, req.Machine.Initrd)
	}
	return nil
}

func (a *app) imagesListCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "list", Short: "List the cache, last used first", Args: cobra.NoArgs,
		Example: `  unwedge images list
  unwedge images list --json`,
		RunE: func(*cobra.Command, []string) error {
			store, err := cache.Default()
			if err != nil {
				return err
			}
			entries, err := store.List()
			if err != nil {
				return err
			}
			if asJSON {
				return report.JSON(a.stdout, append([]cache.Entry{}, entries...)) // [], not null
			}
			return a.printEntries(entries)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) printEntries(entries []cache.Entry) error {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ENTRY\tSIZE\tUSED\tMADE FROM")
	var total int64
	for _, e := range entries {
		total += e.Size
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", e.ID, mebibytes(e.Size), e.Used.Format(time.DateTime), display.Cut(console.Sanitize(strings.Join(e.Inputs, " ")), 80))
	}
	fmt.Fprintf(w, "%d entries\t%s\t\t\n", len(entries), mebibytes(total))
	return w.Flush()
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

func (a *app) imagesPruneCmd() *cobra.Command {
	var opt cache.PruneOptions
	var all bool
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Remove what has not been used for a while",
		Example: `  unwedge images prune --dry-run
  unwedge images prune --unused 168h
  unwedge images prune --all --kind dracut`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if all {
				opt.Unused = 0
			}
			store, err := cache.Default()
			if err != nil {
				return err
			}
			gone, err := store.Prune(c.Context(), opt)
			if perr := a.printEntries(gone); err == nil {
				err = perr
			}
			return err
		},
	}
	fs := cmd.Flags()
	fs.DurationVar(&opt.Unused, "unused", 30*24*time.Hour, "remove what has not been used for this long")
	fs.BoolVar(&all, "all", false, "remove everything")
	fs.StringSliceVar(&opt.Kinds, "kind", nil, "only these kinds: the first part of an entry's name")
	fs.BoolVar(&opt.DryRun, "dry-run", false, "only print what would be removed")
	return cmd
}
