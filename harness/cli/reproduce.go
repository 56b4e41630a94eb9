package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/unwedge/unwedge/harness/internal/bundle"
	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/display"
	"github.com/unwedge/unwedge/harness/internal/rerun"
	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/plan"
	"github.com/unwedge/unwedge/harness/report"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
	"github.com/unwedge/unwedge/images/progress"
)

// reproduceFlags are what `unwedge reproduce` was asked.
type reproduceFlags struct {
	boots       int
	disks       []string
	out         string
	trust, json bool
	size        sizeFlag
}

func (a *app) reproduceCmd() *cobra.Command {
	var f reproduceFlags
	cmd := &cobra.Command{
		Use:   "reproduce RUN|BUNDLE",
		Short: "Boot a run's guest again, and say whether it failed the same way",
		Long: `Boot the same guest again: the same kernel (by its checksum), initramfs, disks, command
line and machine. Say whether it ended in the same way, by the failure's signature, and
what of QEMU and the accelerator was not as before.

RUN is a run's directory or its result.json, BUNDLE a file of unwedge bundle or its
unpacked folder. A bundle is checked before anything boots. One that gives QEMU arguments
or devices of its own, or shows the guest a directory of this host, needs --trust.

Exit codes: 0 it ended in the same way, 1 it did not, 2 usage or a bad bundle, 3 the
harness, QEMU or the host failed.`,
		Example: `  unwedge reproduce ~/.local/state/unwedge/runs/20261201-120000-tiny-x86_64-virtio-rng-tiny-7.3.0-rc1
  unwedge reproduce hang.tar.zst
  unwedge reproduce --boots 20 hang.tar.zst    # an intermittent failure: until it shows
  unwedge reproduce --disk root.ext4 hang.tar.zst
  unwedge reproduce --json hang.tar.zst | jq .same`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return a.reproduce(c.Context(), args[0], f) },
	}
	fs := cmd.Flags()
	fs.IntVarP(&f.boots, "boots", "n", 1, "boot at most so often, until it ends in the same way")
	fs.StringArrayVar(&f.disks, "disk", nil, "a disk that the bundle names by its checksum alone (repeatable; this host's cache is searched anyway)")
	fs.StringVarP(&f.out, "out", "o", "", "directory for the artifacts of the first boot (default: a new one below $XDG_STATE_HOME/unwedge)")
	fs.BoolVar(&f.trust, "trust", false, "let a bundle give QEMU arguments and reach this host's files")
	fs.BoolVar(&f.json, "json", false, "print the answer as JSON")
	f.size.add(cmd, 8192)
	return cmd
}

func (a *app) reproduce(ctx context.Context, what string, f reproduceFlags) error {
	limits, err := f.size.limits()
	if err != nil {
		return err
	}
	if f.boots < 1 || f.boots > 10000 {
		return usage.Errorf("--boots %d: use 1 to 10000", f.boots)
	}
	if err := rundir.CheckOut(f.out); err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "unwedge-reproduce-")
	if err != nil {
		return fmt.Errorf("unpack bundle: %w", err)
	}
	defer os.RemoveAll(scratch) // temporary
	c, err := bundle.Open(what, scratch, limits, f.trust)
	if err != nil {
		return err
	}
	p, err := a.planner()
	if err != nil {
		return err
	}
	if p.Force == "" && c.Result.Host.Accel == result.TCG {
		p.Force = result.TCG // any host has it
	}
	if err := c.Find(f.disks, p.Store.Dir()); err != nil {
		return err
	}
	again, err := a.bootAgain(ctx, p, c, f)
	if err != nil {
		return err
	}
	if f.json {
		err = report.JSON(a.stdout, again)
	} else {
		err = reproduced(a.stdout, again)
	}
	if err == nil && !again.Same {
		err = errKernel
	}
	return err
}

// bootAgain boots until it ends as before, or often enough.
func (a *app) bootAgain(ctx context.Context, p *plan.Planner, c *bundle.Case, f reproduceFlags) (*rerun.Again, error) {
	d := display.New(a.stderr, a.quiet)
	defer d.Close()
	ctx = progress.With(ctx, d)
	req, err := p.Again(ctx, c.Result, c.Machine, c.Kernel)
	if err != nil {
		return nil, err
	}
	again := rerun.Begin(c.Result)
	for range f.boots {
		res, err := a.run(ctx, d, req, f.out, req.Machine.Scenario.Name, nil)
		if err != nil {
			return nil, err
		}
		f.out = ""
		if again.Add(c.Result, res); again.Same {
			break
		}
	}
	return again, nil
}

// reproduced prints the answer for people.
func reproduced(w io.Writer, a *rerun.Again) error {
	var b strings.Builder
	word := "NOT REPRODUCED"
	if a.Same {
		word = "REPRODUCED"
	}
	last := a.Now[len(a.Now)-1]
	fmt.Fprintf(&b, "%s  in boot %d of %d\n", word, len(a.Now), len(a.Now))
	line := func(label, text string) { fmt.Fprintf(&b, "  %-9s %s\n", label+":", console.SanitizeMax(text, 300)) }
	line("was", a.Was.Text())
	for _, s := range counted(a.Now) {
		line("now", s)
	}
	for _, d := range a.Differs {
		line("differs", d)
	}
	line("files", last.Dir)
	_, err := io.WriteString(w, b.String())
	return err
}

// counted are the ways in which boots ended, each once with how often.
func counted(boots []rerun.Seen) []string {
	var out []string
	times := map[string]int{}
	for _, s := range boots {
		times[s.Text()]++
	}
	for _, s := range boots {
		n := times[s.Text()]
		delete(times, s.Text())
		switch {
		case n == 1:
			out = append(out, s.Text())
		case n > 1:
			out = append(out, fmt.Sprintf("%s (%d boots)", s.Text(), n))
		}
	}
	return out
}
