package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/unwedge/unwedge/harness/internal/diagnose"
	"github.com/unwedge/unwedge/harness/internal/lines"
	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/report"
	"github.com/unwedge/unwedge/harness/result"
)

// maxExplain bounds the log that is read, in bytes.
const maxExplain = 512 << 20

func (a *app) explainCmd() *cobra.Command {
	var how explaining
	var follow bool
	var kernel string
	var mods []string
	cmd := &cobra.Command{
		Use:   "explain FILE|DIR|-...",
		Short: "Diagnose existing console logs",
		Long: `Read a serial console log, dmesg output or a journal and report where the boot is
blocked and why. No guest is needed. Every report of the kernel is
listed as a finding. The log may be in what a CI system, a container runtime, a mail or a
web page put around it. A stack alone is read, too: /proc/PID/stack, or a trace of crash
or drgn.

Several files, or a directory, are grouped by signature, with a count and an example
each; with --json each log is a line of its own.

Exit code 0 if the cause is known, or the boot came to its end; 1 if
not, or if it came to its end with a finding that is an error (--strict: a warning).`,
		Example: `  unwedge explain console.log
  dmesg | unwedge explain -
  unwedge explain --against good.log console.log   # which findings are new?
  unwedge explain --json ~/bug/serial.txt
  unwedge explain --kernel ~/src/linux console.log # with file and line of each frame
  unwedge explain logs/                            # what fails most often?
  unwedge explain --json logs/ | jq -r .title
  unwedge explain --follow /var/log/lab/board7.log`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			st, err := os.Stat(args[0])
			many := len(args) > 1 || err == nil && st.IsDir()
			if follow && (many || args[0] == "-") {
				return usage.Wrap(errors.New("follow a log: --follow takes one file"))
			}
			if how.good, err = a.goodLog(how.against); err != nil {
				return err
			}
			if how.lines, err = openLines(kernel, mods); err != nil {
				return err
			}
			switch {
			case follow:
				return a.follow(cmd.Context(), args[0], how)
			case many:
				return a.explainMany(cmd.Context(), args, how)
			}
			return a.explain(args[0], how)
		},
	}
	how.judge.add(cmd)
	cmd.Flags().StringVar(&how.against, "against", "", "log of a good boot: say which findings are new")
	cmd.Flags().StringVar(&kernel, "kernel", "", "build tree, image in it, or vmlinux with debug information: add file and line to the kernel's frames")
	cmd.Flags().StringArrayVar(&mods, "modules", nil, "with --kernel: a module (.ko) with debug information, or the build tree of some that are not in the kernel's (repeatable)")
	cmd.Flags().BoolVar(&follow, "follow", false, "read a log that grows, until the verdict is certain or the boot came through")
	cmd.Flags().BoolVar(&how.asJSON, "json", false, "print the Diagnosis and the findings as JSON")
	return cmd
}

// explaining is how logs are judged and reported.
type explaining struct {
	judge   judgeFlags
	against string
	good    *result.Baseline // of against
	lines   *lines.Table     // nil: frames stay as they are
	asJSON  bool
}

// diagnose explains a log, with file and line where they are asked for.
func (how explaining) diagnose(log []byte) result.Explanation {
	d := diagnose.Explain(log)
	if how.lines == nil {
		return d
	}
	for i := range d.Evidence {
		decode(how.lines, d.Evidence[i].Lines)
	}
	for i := range d.Findings {
		decode(how.lines, d.Findings[i].Lines)
	}
	return d
}

func decode(t *lines.Table, text []string) {
	for i := range text {
		text[i] = t.Decode(text[i])
	}
}

// openLines opens the vmlinux of a kernel argument, nil for none, with the modules of
// its tree and of mods.
func openLines(kernel string, mods []string) (*lines.Table, error) {
	if kernel == "" {
		if len(mods) > 0 {
			return nil, usage.Wrap(errors.New("decode frames: --modules needs --kernel: name the build tree or the vmlinux"))
		}
		return nil, nil
	}
	vmlinux, err := lines.Find(kernel)
	if err != nil {
		return nil, usage.Wrap(err)
	}
	t, err := lines.Open(vmlinux)
	if err != nil {
		return nil, usage.Wrap(err)
	}
	for _, from := range append(mods, filepath.Dir(vmlinux)) {
		if err := t.AddModules(from); err != nil {
			return nil, usage.Wrap(fmt.Errorf("find modules: %w", err))
		}
	}
	return t, nil
}

// goodLog are the findings of the log of a good boot, nil without a path.
func (a *app) goodLog(path string) (*result.Baseline, error) {
	if path == "" {
		return nil, nil
	}
	log, err := a.readBounded(path)
	if err != nil {
		return nil, usage.Wrap(err)
	}
	return &result.Baseline{From: path, Findings: diagnose.Explain(log).Findings}, nil
}

func (a *app) explain(path string, how explaining) error {
	log, err := a.readBounded(path)
	if err != nil {
		return usage.Wrap(err)
	}
	return a.explained(how.diagnose(log), how)
}

// explained reports one log.
func (a *app) explained(d result.Explanation, how explaining) error {
	err := how.judge.mark(&d, how.good)
	if err != nil {
		return err
	}
	if how.asJSON {
		err = report.JSON(a.stdout, d)
	} else {
		var b strings.Builder
		report.Explanation(&b, d, a.style())
		_, err = io.WriteString(a.stdout, b.String())
	}
	if err == nil && how.judge.fails(d) {
		return errKernel
	}
	return err
}

func (a *app) readBounded(path string) ([]byte, error) {
	in, size := a.stdin, int64(0)
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("read log: %w", err)
		}
		defer f.Close()
		if st, err := f.Stat(); err == nil && st.Mode().IsRegular() {
			size = st.Size()
		}
		if size > maxExplain {
			return nil, tooLong(path)
		}
		in = f
	}
	buf := bytes.NewBuffer(make([]byte, 0, size+bytes.MinRead)) // a copy less, for a file
	if _, err := buf.ReadFrom(io.LimitReader(in, maxExplain+1)); err != nil {
		return nil, fmt.Errorf("read log: %w", err)
	}
	b := buf.Bytes()
	if len(b) > maxExplain {
		return nil, tooLong(path)
	}
	if len(b) == 0 {
		return nil, errors.New("read log " + path + ": the file is empty")
	}
	return b, nil
}

func tooLong(path string) error {
	return fmt.Errorf("read log %s: more than %d MiB: cut it to the boot in question", path, maxExplain>>20)
}
