// Package cli is unwedge's command line.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/plan"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/scenarios"
)

// Main runs the command line and returns its exit code.
func Main(args []string, version string) int {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		<-signals
		cancel(errInterrupted)
		signal.Stop(signals) // the next one ends the program at once
	}()
	app := &app{version: version, stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}
	return app.main(ctx, args)
}

// main runs one command line and returns its exit code.
func (a *app) main(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	return a.exit(root.ExecuteContext(ctx))
}

// Command is the tree of all commands, from which man pages and completions are
// made. Main runs them.
func Command(version string) *cobra.Command {
	app := &app{version: version, stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}
	return app.root()
}

// app is one run of the program.
type app struct {
	version        string
	stdin          io.Reader
	stdout, stderr io.Writer
	quiet          bool
	mirror         string
	accel          string
	scenarioFile   string
	noHistory      bool
	scenariosFrom  string // the tree's file that names scenarioFile, "" where a user does
}

func (a *app) root() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "unwedge",
		Short: "Boot Linux kernels in QEMU, and report where and why a boot hangs",
		Long: `unwedge boots Linux kernels in QEMU on x86_64 and aarch64, with and without
virtio-rng and a FIPS dracut initramfs. When a boot stops making progress it reports
where it is blocked and why.

Exit codes: 0 as expected, 1 a kernel failed its scenario, 2 usage or bad
input, 3 the harness, QEMU or the host failed, 130 interrupted.`,
		Example: `  unwedge doctor
  unwedge boot deb:linux-image-cloud-amd64@bookworm
  unwedge boot --scenario distro --entropy none --initramfs dracut-fips ./bzImage
  unwedge matrix -j 2 ~/src/linux
  unwedge explain console.log`,
		SilenceErrors: true, SilenceUsage: true,
		Version: a.version,
		Args:    unknownCommand,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
		PersistentPreRunE: func(c *cobra.Command, _ []string) error {
			if c.Name() == "config" {
				return nil // it shows them
			}
			return a.configure(c)
		},
	}
	cmd.SetOut(a.stdout)
	cmd.SetErr(a.stderr)
	cmd.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usage.Errorf("%w: see `%s --help`", err, c.CommandPath())
	})
	cmd.SetVersionTemplate("unwedge {{.Version}}\n")
	cmd.SuggestionsMinimumDistance = 2 // letters
	f := cmd.PersistentFlags()
	f.BoolVarP(&a.quiet, "quiet", "q", false, "print no progress")
	f.StringVar(&a.mirror, "mirror", "", "Debian mirror to fetch from (default: $UNWEDGE_DEBIAN_MIRROR, else the host's)")
	f.StringVar(&a.accel, "accel", "auto", "accelerator: auto (tested with a real guest), kvm or tcg")
	f.StringVar(&a.scenarioFile, "scenarios", "", "file with your own scenarios, in addition to the built-in ones")
	f.BoolVar(&a.noHistory, "no-history", false, "record no run in the history")
	cmd.AddCommand(a.bootCmd(), a.matrixCmd(), a.explainCmd(), a.inspectCmd(), a.scenariosCmd(), a.imagesCmd(), a.doctorCmd(),
		a.attachCmd(), a.stopCmd(), a.watchCmd(), a.mutateCmd(), a.moduleCmd(), a.bisectCmd(), a.reportCmd(), a.kernelsCmd(), a.treesCmd(), a.versionCmd())
	cmd.AddCommand(a.buildCmd(), a.configCmd(), a.historyCmd(), a.compareCmd(), a.serveCmd(), a.bundleCmd(), a.reproduceCmd(), a.tryCmd())
	for _, c := range cmd.Commands() {
		usageArgs(c)
	}
	return cmd
}

// unknownCommand is for the root, which takes no arguments of its own.
func unknownCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := "see `" + c.CommandPath() + " --help`"
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		hint = "did you mean " + strings.Join(near, " or ") + "?"
	}
	return usage.Errorf("unknown command %q: %s", args[0], hint)
}

// usageArgs makes wrong arguments usage errors, here and below.
func usageArgs(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(cmd *cobra.Command, args []string) error {
			err := check(cmd, args)
			if errors.As(err, new(usage.Error)) { // it has its hint
				return err
			}
			if err != nil {
				return usage.Errorf("%w: see `%s --help`", err, cmd.CommandPath())
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		usageArgs(sub)
	}
}

// planner makes the Planner that the flags ask for.
func (a *app) planner() (*plan.Planner, error) {
	p, err := plan.New(a.version)
	if err != nil {
		return nil, err
	}
	p.Mirror = a.mirror
	switch a.accel {
	case "auto":
	case string(result.KVM), string(result.TCG):
		p.Force = result.Accel(a.accel)
	default:
		return nil, usage.Errorf("--accel %q: use auto, kvm or tcg", a.accel)
	}
	return p, nil
}

// catalogue is the built-in scenarios, with the user's own where given: a
// user's replaces a built-in one of the same name.
func (a *app) catalogue() (scenarios.Catalogue, error) {
	builtin := scenarios.Builtin()
	if a.scenarioFile == "" {
		return builtin, nil
	}
	own, err := scenarios.Load(a.scenarioFile)
	if err != nil {
		return nil, usage.Wrap(err)
	}
	for _, t := range own {
		for _, sc := range t.Cells() {
			if a.scenariosFrom != "" && sc.HostFiles() {
				return nil, usage.Errorf("scenario %s of %s, named by %s, reaches the host's files or gives QEMU arguments: if you trust it, use --scenarios %s",
					t.Name, a.scenarioFile, a.scenariosFrom, a.scenarioFile)
			}
		}
	}
	return builtin.With(own), nil
}

func (a *app) versionCmd() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print unwedge's version", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(a.stdout, "unwedge", a.version)
			return err
		},
	}
}
