package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/doctor"
	"github.com/unwedge/unwedge/images/hostpkg"
	"github.com/unwedge/unwedge/images/rootfs"
	"github.com/unwedge/unwedge/scenarios/arch"
)

func (a *app) doctorCmd() *cobra.Command {
	var command bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check the host, and print how to install what is missing",
		Long: `Look for everything unwedge uses, print the command that installs what is missing,
and run a real guest to find out which accelerator each architecture gets. Nothing
is installed. Exit code 0 if nothing required is missing, 3 otherwise.`,
		Example: `  unwedge doctor
  sudo sh -c "$(unwedge doctor --command)"`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			e := doctor.Examine(doctor.Host{LookPath: hostpkg.LookPath, Exists: exists, Root: os.Geteuid() == 0})
			if command {
				return a.printCommand(e)
			}
			return a.doctor(c.Context(), e)
		},
	}
	cmd.Flags().BoolVar(&command, "command", false, "print only the command that installs what is missing, if anything is")
	return cmd
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (a *app) printCommand(e doctor.Examination) error {
	command, _ := e.Command()
	if command == "" {
		return nil
	}
	_, err := fmt.Fprintln(a.stdout, command)
	return err
}

func (a *app) doctor(ctx context.Context, e doctor.Examination) error {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	for _, f := range e.Found {
		state := f.Path
		if state == "" && f.Optional {
			state = "missing (optional)"
		} else if state == "" {
			state = "MISSING"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", f.Name, state, f.For)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	a.advise(e)
	a.distroImages(ctx)
	if err := a.accelerators(ctx); err != nil {
		return err
	}
	if !e.Healthy() {
		return errors.New("something required is missing, see above")
	}
	return nil
}

func (a *app) advise(e doctor.Examination) {
	command, unpackaged := e.Command()
	if command != "" {
		fmt.Fprintf(a.stdout, "\nTo install what is missing:\n  %s\n", command)
	}
	if e.Manager == "" && len(e.Missing()) > 0 {
		fmt.Fprintln(a.stdout, "\nUnknown package manager; on other distributions the command is:")
		for _, m := range doctor.Managers() {
			if c, _ := e.CommandFor(m); c != "" {
				fmt.Fprintf(a.stdout, "  %-7s %s\n", m, c)
			}
		}
		return
	}
	if len(unpackaged) > 0 {
		fmt.Fprintf(a.stdout, "\nNo known package of this distribution: %s\n", strings.Join(unpackaged, ", "))
	}
}

// distroImages says whether this user can have the distribution images built, and why not.
func (a *app) distroImages(ctx context.Context) {
	how := "built without root, in namespaces of your own"
	if os.Geteuid() == 0 {
		how = "built as root, in mount namespaces"
	}
	if err := rootfs.Buildable(ctx); err != nil {
		how = "cannot be built: " + console.OneLine(err)
	}
	fmt.Fprintf(a.stdout, "\nDistribution images (dracut, ext4 root):\n  %s\n", how)
}

// accelerators proves and prints what each architecture gets.
func (a *app) accelerators(ctx context.Context) error {
	p, err := a.planner()
	if err != nil {
		return err
	}
	fmt.Fprintln(a.stdout, "\nAccelerators:")
	for _, ar := range arch.All() {
		h, err := p.Host(ctx, ar)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			fmt.Fprintf(a.stdout, "  %-8s none: %s\n", ar, console.OneLine(err))
		default:
			fmt.Fprintf(a.stdout, "  %-8s %s (QEMU %s): %s\n", ar, h.Accel, h.Version, console.OneLine(errors.New(h.AccelWhy)))
		}
	}
	return nil
}
