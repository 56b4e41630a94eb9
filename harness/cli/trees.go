package cli

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/display"
	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/report"
	"github.com/unwedge/unwedge/images/progress"
	"github.com/unwedge/unwedge/images/trees"
)

func (a *app) treesCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "trees [NAME]",
		Short: "List kernel source trees, or what was fetched from one",
		Long: `List the known kernel trees. The file unwedge/trees.yaml in your configuration
directory ($XDG_CONFIG_HOME) adds trees and changes built-in ones:

  trees:
    - name: mainline                # fields given here replace the built-in ones
      reference: /home/me/linux     # a local clone to take objects from
    - name: ours
      purpose: our product's kernel
      url: git@git.example:kernel/linux.git
      branch: product/2.0
      base: stable                  # where to look for revisions that this tree lacks`,
		Example: `  unwedge trees
  unwedge trees stable
  unwedge trees fetch stable v6.12.40 v6.12.43`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return a.listTrees(c.Context(), args, asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.AddCommand(a.treesFetchCmd())
	return cmd
}

// treeStore is the catalogue, with the user's own trees, and its store.
func treeStore() (trees.Catalogue, *trees.Store, error) {
	cat, err := trees.Load("")
	if err != nil {
		return nil, nil, usage.Wrap(err)
	}
	store, err := trees.Default(cat)
	return cat, store, err
}

// listedTree is a tree as --json prints it.
type listedTree struct {
	trees.Tree
	Fetched []trees.Ref `json:"fetched"`
}

func (a *app) listTrees(ctx context.Context, args []string, asJSON bool) error {
	cat, store, err := treeStore()
	if err != nil {
		return err
	}
	if len(args) == 1 {
		t, err := cat.Find(args[0])
		if err != nil {
			return usage.Wrap(err)
		}
		cat = trees.Catalogue{t}
	}
	refs, err := store.Refs(ctx)
	if err != nil {
		return err
	}
	var list []listedTree
	for _, t := range cat {
		own := slices.DeleteFunc(slices.Clone(refs), func(r trees.Ref) bool { return r.Tree != t.Name })
		t.URL = t.ShownURL()
		list = append(list, listedTree{t, append([]trees.Ref{}, own...)})
	}
	switch {
	case asJSON:
		return report.JSON(a.stdout, list)
	case len(args) == 1:
		return a.printTree(list[0])
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tBRANCH\tFETCHED\tPURPOSE")
	for _, t := range list {
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\n", t.Name, cmp.Or(t.Branch, "-"), len(t.Fetched), console.Sanitize(t.Purpose))
	}
	return w.Flush()
}

func (a *app) printTree(t listedTree) error {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	for _, row := range [][2]string{
		{"name", t.Name}, {"purpose", t.Purpose}, {"url", t.URL}, {"branch", t.Branch}, {"revisions", t.Versions},
		{"built on", t.Base}, {"reference", t.Reference}, {"list", t.List}, {"patchwork", t.Patchwork}, {"tracker", t.Tracker}, {"note", t.Caveat()},
	} {
		if row[1] != "" {
			fmt.Fprintf(w, "%s:\t%s\n", row[0], console.Sanitize(row[1]))
		}
	}
	for _, r := range t.Fetched {
		_, name, _ := strings.Cut(r.Name, "/")
		fmt.Fprintf(w, "fetched:\t%.12s  %s\n", r.Hash, console.Sanitize(name))
	}
	return w.Flush()
}

func (a *app) treesFetchCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "fetch NAME [REVISION...]",
		Short: "Fetch revisions of a tree and their history",
		Long: `Fetch tags, branches or commits of a tree, with their history, into the store that
all trees share in unwedge's cache. Without a revision, fetch the tree's branch.
Nothing is fetched twice, and an interrupted fetch continues where it stopped. If the
server supports it, files are fetched only when a commit is checked out.`,
		Example: `  unwedge trees fetch mainline v7.2 v7.3-rc1
  unwedge trees fetch stable linux-6.12.y
  unwedge trees fetch linux-next next-20261120`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return a.fetchTree(c.Context(), args[0], args[1:]) },
	}
}

func (a *app) fetchTree(ctx context.Context, name string, revs []string) error {
	_, store, err := treeStore()
	if err != nil {
		return err
	}
	d := display.New(a.stderr, a.quiet)
	defer d.Close()
	got, err := store.Fetch(progress.With(ctx, d), name, revs...)
	if err != nil {
		return err
	}
	for _, n := range got.Notes {
		d.Say("note: " + n)
	}
	d.Close()
	for _, rev := range slices.Sorted(maps.Keys(got.Commits)) {
		fmt.Fprintf(a.stdout, "%s  %s\n", got.Commits[rev], rev)
	}
	_, err = fmt.Fprintf(a.stdout, "in %s\n", got.GitDir)
	return err
}
