package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/display"
	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/plan"
	"github.com/unwedge/unwedge/harness/report"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/images/extmod"
	"github.com/unwedge/unwedge/images/modules"
	"github.com/unwedge/unwedge/images/progress"
)

type moduleFlags struct {
	arch, headers, modulesDir string
	cmdline                   []string
	json                      bool
}

func (a *app) moduleCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "module",
		Short: "Check whether a kernel will load a module",
		Args:  unknownCommand,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	cmd.AddCommand(a.moduleCheckCmd())
	return cmd
}

func (a *app) moduleCheckCmd() *cobra.Command {
	var f moduleFlags
	cmd := &cobra.Command{
		Use:   "check FILE.ko KERNEL",
		Short: "Predict whether a kernel will load a module, without booting",
		Long: `Predict whether a kernel will load a module, without booting it: the module's
signature, vermagic, symbols and CRCs are checked against the kernel image, in the
kernel's own order. A refusal comes with the error and the lines that the kernel
will log.

KERNEL is what ` + "`unwedge boot`" + ` takes. Symbols of other modules are known if the
kernel came with headers or modules.

Exit code 0: it loads, 1: it is refused, 2: bad input.`,
		Example: `  unwedge module check foo.ko ~/src/linux
  unwedge module check foo.ko deb:linux-image-cloud-amd64@trixie-backports
  unwedge module check --append lockdown=integrity foo.ko /boot/vmlinuz`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error { return a.moduleCheck(c.Context(), args[0], args[1], f) },
	}
	fs := cmd.Flags()
	fs.StringVar(&f.arch, "arch", "", "architecture, if KERNEL may have several")
	fs.StringVar(&f.headers, "headers", "", "the kernel's build tree or headers, with Module.symvers (default: KERNEL, if it is one)")
	fs.StringVar(&f.modulesDir, "modules-dir", "", "the kernel's lib/modules/RELEASE directory, if KERNEL is a bare file")
	fs.StringArrayVarP(&f.cmdline, "append", "a", nil, "kernel command line, such as module.sig_enforce=1")
	fs.BoolVar(&f.json, "json", false, "print the prediction as JSON")
	return cmd
}

func (a *app) moduleCheck(ctx context.Context, file, arg string, f moduleFlags) error {
	b, err := modules.ReadFile(file)
	if err != nil {
		return usage.Wrap(err)
	}
	m, err := extmod.Parse(b)
	if err != nil {
		return usage.Errorf("%s: %w", file, err)
	}
	facts, err := a.moduleFacts(ctx, arg, f, m.Depends())
	if err != nil {
		return err
	}
	p := extmod.Check(m, facts)
	if f.json {
		err = report.JSON(a.stdout, p)
	} else {
		err = showPrediction(a.stdout, p, facts.Release)
	}
	if err == nil && !p.Loads() {
		err = errKernel
	}
	return err
}

// moduleFacts reads what of a kernel decides on modules.
func (a *app) moduleFacts(ctx context.Context, arg string, f moduleFlags, depends []string) (*extmod.Facts, error) {
	want, err := parseArch(f.arch)
	if err != nil {
		return nil, err
	}
	p, err := a.planner()
	if err != nil {
		return nil, err
	}
	d := display.New(a.stderr, a.quiet)
	defer d.Close()
	ctx = progress.With(ctx, d)
	c, err := p.Candidate(ctx, arg, want)
	if err != nil {
		return nil, err
	}
	if f.modulesDir != "" {
		if c.ModulesDir, err = modulesDir(f.modulesDir); err != nil {
			return nil, err
		}
	}
	headers, err := headersFor(ctx, p, c, f.headers)
	if err != nil {
		return nil, err
	}
	var words []string
	for _, s := range f.cmdline {
		words = append(words, strings.Fields(s)...)
	}
	return extmod.Gather(ctx, extmod.Source{Kernel: c.Kernel, Headers: headers, ModulesDir: c.ModulesDir, Cmdline: words}, depends...)
}

// headersFor finds a kernel's Module.symvers. That there is none is no error: the
// image says most. Nothing is fetched for it.
func headersFor(ctx context.Context, p *plan.Planner, c *candidate.Candidate, dir string) (string, error) {
	if dir != "" {
		dir, err := filepath.Abs(dir)
		if err != nil {
			return "", usage.Errorf("--headers: %w", err)
		}
		st, err := os.Stat(dir)
		if err == nil && !st.IsDir() {
			err = fmt.Errorf("%s is not a directory", dir)
		}
		if err != nil {
			return "", usage.Errorf("--headers: %w", err)
		}
		return dir, nil
	}
	if strings.HasPrefix(c.Origin, "deb:") {
		return "", nil
	}
	h, err := c.FindHeaders(ctx, candidate.Options{Mirror: p.Mirror, Cache: p.Store})
	var none *candidate.NotFoundError
	if errors.As(err, &none) {
		return "", nil
	}
	return h.Dir, err
}

func showPrediction(w io.Writer, p extmod.Prediction, release string) error {
	safe := func(s string) string { return console.SanitizeMax(s, 400) }
	b := &strings.Builder{}
	fmt.Fprintf(b, "%s on %s: %s\n", safe(p.Module), safe(release), report.Verdict(p))
	line := func(name, text string) { fmt.Fprintf(b, "  %-9s %s\n", name+":", safe(text)) }
	line("why", p.Why)
	for _, l := range p.Lines {
		line("logs", l)
	}
	if len(p.Needs) > 0 {
		line("needs", "these modules first: "+strings.Join(p.Needs, ", "))
	}
	for _, n := range p.Notes {
		line("note", n)
	}
	for _, s := range p.Sources {
		line("from", s)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
