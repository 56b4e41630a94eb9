package cli

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/unwedge/unwedge/harness/internal/kept"
)

func (a *app) attachCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "attach RUN",
		Short: "Connect to the console of a guest that boot --keep left paused",
		Long: `Resume a kept guest and connect the terminal to its console. Ctrl-] detaches and
pauses the guest again. RUN is the run's directory.`,
		Example: `  unwedge attach ~/.local/state/unwedge/runs/20261123-120000-random`,
		Args:    cobra.ExactArgs(1),
		RunE:    func(c *cobra.Command, args []string) error { return a.attach(c.Context(), args[0]) },
	}
}

func (a *app) attach(ctx context.Context, dir string) (err error) {
	guest, err := kept.Open(ctx, dir)
	if err != nil {
		return err
	}
	defer guest.Close()
	console, err := guest.Console()
	if err != nil {
		return err
	}
	defer console.Close()
	stdin := int(os.Stdin.Fd())
	if term.IsTerminal(stdin) {
		old, err := term.MakeRaw(stdin)
		if err != nil {
			return fmt.Errorf("set the terminal: %w", err)
		}
		defer func() { err = errors.Join(err, term.Restore(stdin, old)) }()
	}
	fmt.Fprint(a.stderr, "attached: Ctrl-] detaches\r\n")
	if err := guest.Attach(ctx, console, os.Stdin, a.stdout); err != nil {
		return err
	}
	fmt.Fprint(a.stderr, "\r\ndetached: the guest is paused\r\n")
	return nil
}

func (a *app) stopCmd() *cobra.Command {
	return &cobra.Command{
		Use: "stop RUN", Short: "End a guest that boot --keep left paused", Args: cobra.ExactArgs(1),
		Example: `  unwedge stop ~/.local/state/unwedge/runs/20261123-120000-random`,
		RunE: func(c *cobra.Command, args []string) error {
			ended, err := kept.Stop(c.Context(), args[0])
			if err != nil {
				return err
			}
			said := "ended"
			if !ended {
				said = "it had ended before"
			}
			_, err = fmt.Fprintln(a.stdout, said)
			return err
		},
	}
}
