package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/unwedge/unwedge/harness/internal/display"
	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/images/mutate"
	"github.com/unwedge/unwedge/images/progress"
)

type mutateFlags struct{ at, fault, out, arch string }

func (a *app) mutateCmd() *cobra.Command {
	var f mutateFlags
	cmd := &cobra.Command{
		Use:   "mutate KERNEL",
		Short: "Break one function of a kernel, to reproduce a hang",
		Long: `Write a copy of a stock kernel with one function changed in machine code, found in
the kernel's own symbol table. OUT.truth.json records the change, and OUT.modules
links to the kernel's modules. The faults:

  return, return:-ERRNO   return immediately, with 0 or an error
  spin, spin-irqs-off     loop forever, with interrupts unchanged or disabled
  sleep                   sleep forever, where sleeping is allowed
  leak-lock               skip one call that releases a lock: the next task to take
                          the lock waits forever
  crash                   execute an undefined instruction
  reset                   reset the machine silently`,
		Example: `  # the hang of spring 2018, on a stock kernel:
  unwedge mutate deb:linux-image-cloud-amd64@bookworm --at try_to_generate_entropy -o starved
  unwedge boot starved -s random --entropy none

  # an initcall that never returns:
  unwedge mutate deb:linux-image-cloud-arm64@bookworm --at pci_driver_init --fault spin -o stuck

  # a mutex that is never released:
  unwedge mutate deb:linux-image-cloud-amd64@bookworm --at misc_register --fault leak-lock -o leaky`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return a.mutate(c.Context(), args[0], f) },
	}
	fs := cmd.Flags()
	fs.StringVar(&f.at, "at", "", "the function to change")
	fs.StringVar(&f.fault, "fault", "return", "what the function does instead: "+strings.Join(mutate.Faults(), ", "))
	fs.StringVarP(&f.out, "out", "o", "", "the file to write")
	fs.StringVar(&f.arch, "arch", "", "architecture, if KERNEL may have several")
	return cmd
}

func (a *app) mutate(ctx context.Context, arg string, f mutateFlags) error {
	if f.at == "" || f.out == "" {
		return usage.Errorf("--at FUNCTION and --out FILE are needed: see `unwedge mutate --help`")
	}
	want, err := parseArch(f.arch)
	if err != nil {
		return err
	}
	fault, err := mutate.ParseFault(f.fault)
	if err != nil {
		return usage.Wrap(err)
	}
	p, err := a.planner()
	if err != nil {
		return err
	}
	d := display.New(a.stderr, a.quiet)
	defer d.Close()
	c, err := p.Candidate(progress.With(ctx, d), arg, want)
	if err != nil {
		return err
	}
	truth, err := mutate.WriteFile(ctx, c.Kernel, f.out, f.at, fault)
	if err != nil {
		return usage.Wrap(err)
	}
	d.Close()
	fmt.Fprintf(a.stdout, "%s: %s with %s changed%s, in %s\n", f.out, c.Kernel.Release, truth.Function, missing(truth), f.out+mutate.TruthSuffix)
	return linkModules(f.out, c.ModulesDir)
}

// missing says which call is no longer made.
func missing(t *mutate.Truth) string {
	if t.Unlock == "" {
		return ""
	}
	return fmt.Sprintf(" (without its call to %s at +%#x)", t.Unlock, t.CallOffset)
}

// linkModules puts a link to the stock kernel's modules beside the copy, so that
// they are found with it.
func linkModules(out, modules string) error {
	if modules == "" {
		return nil
	}
	link := out + candidate.ModulesSuffix
	if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("link the modules: %w", err)
	}
	if err := os.Symlink(modules, link); err != nil {
		return fmt.Errorf("link the modules: %w", err)
	}
	return nil
}
