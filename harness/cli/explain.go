package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/unwedge/unwedge/harness/internal/diagnose"
	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/report"
	"github.com/unwedge/unwedge/harness/result"
)

// maxExplain bounds the log that is read, in bytes.
const maxExplain = 512 << 20

func (a *app) explainCmd() *cobra.Command {
	var asJSON bool
	var f judgeFlags
	var against string
	cmd := &cobra.Command{
		Use:   "explain FILE|-",
		Short: "Diagnose an existing console log",
		Long: `Read a serial console log, dmesg output or a journal and report where the boot is
blocked and why. No guest is needed. Every report of the kernel is
listed as a finding. Exit code 0 if the cause is known, or the boot came to its end; 1 if
not, or if it came to its end with a finding that is an error (--strict: a warning).`,
		Example: `  unwedge explain console.log
  dmesg | unwedge explain -
  unwedge explain --against good.log console.log   # which findings are new?
  unwedge explain --json ~/bug/serial.txt`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return a.explain(args[0], against, f, asJSON) },
	}
	f.add(cmd)
	cmd.Flags().StringVar(&against, "against", "", "log of a good boot: say which findings are new")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the Diagnosis and the findings as JSON")
	return cmd
}

func (a *app) explain(path, against string, f judgeFlags, asJSON bool) error {
	log, err := a.readBounded(path)
	if err != nil {
		return usage.Wrap(err)
	}
	d := diagnose.Explain(log)
	var good *result.Baseline
	if against != "" {
		log, err := a.readBounded(against)
		if err != nil {
			return usage.Wrap(err)
		}
		good = &result.Baseline{From: against, Findings: diagnose.Explain(log).Findings}
	}
	if err := f.mark(&d, good); err != nil {
		return err
	}
	if asJSON {
		err = report.JSON(a.stdout, d)
	} else {
		var b strings.Builder
		report.Explanation(&b, d, a.style())
		_, err = io.WriteString(a.stdout, b.String())
	}
	if err == nil && f.fails(d) {
		return errKernel
	}
	return err
}

func (a *app) readBounded(path string) ([]byte, error) {
	in := a.stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("read log: %w", err)
		}
		defer f.Close()
		if st, err := f.Stat(); err == nil && st.Mode().IsRegular() && st.Size() > maxExplain {
			return nil, tooLong(path)
		}
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, maxExplain+1))
	if err != nil {
		return nil, fmt.Errorf("read log: %w", err)
	}
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
