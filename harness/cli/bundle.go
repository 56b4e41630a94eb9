package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/unwedge/unwedge/harness/internal/bundle"
	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/report"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
)

// bundleFlags are what `unwedge bundle` was asked.
type bundleFlags struct {
	out         string
	whole, json bool
	size        sizeFlag
}

// sizeFlag bounds the files of a bundle.
type sizeFlag struct{ mib int64 }

func (s *sizeFlag) add(cmd *cobra.Command, mib int64) {
	cmd.Flags().Int64Var(&s.mib, "max-size", mib, "how large its files may be together, unpacked, in `MiB`")
}

func (s sizeFlag) limits() (bundle.Limits, error) {
	if s.mib < 1 || s.mib > 1<<20 {
		return bundle.Limits{}, usage.Errorf("--max-size %d: use 1 to %d", s.mib, 1<<20)
	}
	return bundle.Limits{Bytes: s.mib << 20}, nil
}

func (a *app) bundleCmd() *cobra.Command {
	var f bundleFlags
	cmd := &cobra.Command{
		Use:   "bundle RUN",
		Short: "Pack a run into one file that boots the same guest elsewhere",
		Long: `Pack a run: its kernel, initramfs, firmware, Result, console, dumps, and a qemu.sh that
boots the guest from the unpacked folder wherever QEMU is. Disks are named by their
checksums; --whole packs them too. Paths of this host are left out. The same run gives
the same bytes.

RUN is a run's directory or its result.json.`,
		Example: `  unwedge bundle ~/.local/state/unwedge/runs/20261201-120000-tiny-x86_64-virtio-rng-tiny-7.3.0-rc1
  unwedge bundle RUN -o hang.tar.zst
  unwedge bundle --whole --max-size 4096 RUN -o hang.tar.zst
  tar --zstd -xf hang.tar.zst && ./*/qemu.sh   # on any machine with QEMU
  unwedge reproduce hang.tar.zst`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return a.bundle(c.Context(), args[0], f) },
	}
	fs := cmd.Flags()
	fs.StringVarP(&f.out, "out", "o", "", "`FILE` to write (default: SCENARIO-RELEASE.tar.zst here)")
	fs.BoolVar(&f.whole, "whole", false, "pack the disks too")
	fs.BoolVar(&f.json, "json", false, "print what was packed as JSON")
	f.size.add(cmd, 1024)
	return cmd
}

func (a *app) bundle(ctx context.Context, run string, f bundleFlags) error {
	limits, err := f.size.limits()
	if err != nil {
		return err
	}
	dir, r, err := readRun(run)
	if err != nil {
		return err
	}
	if f.out == "" {
		f.out = rundir.Name(r.Scenario.Name, r.Kernel.Release) + ".tar.zst"
	}
	m, size, err := writeBundle(ctx, f.out, dir, r, bundle.Options{Whole: f.whole, Limits: limits})
	if err != nil {
		return err
	}
	if f.json {
		return report.JSON(a.stdout, struct {
			File string `json:"file"`
			Size int64  `json:"size"`
			bundle.Manifest
		}{f.out, size, m})
	}
	_, err = fmt.Fprintf(a.stdout, "%s  %s\n  holds: %s\n", console.Sanitize(f.out), bundle.Size(size), console.Sanitize(m.Text()))
	return err
}

// readRun reads a run's Result; the directory is absolute.
func readRun(run string) (string, *result.Result, error) {
	if filepath.Base(run) == rundir.Result {
		run = filepath.Dir(run)
	}
	dir, err := filepath.Abs(run)
	if err != nil {
		return "", nil, usage.Errorf("read %s: %w", run, err)
	}
	r, err := result.Read(filepath.Join(dir, rundir.Result))
	if err != nil {
		return "", nil, usage.Wrap(err)
	}
	return dir, r, nil
}

// writeBundle writes the file; where it fails there is none, or the one that was there.
func writeBundle(ctx context.Context, file, dir string, r *result.Result, o bundle.Options) (m bundle.Manifest, size int64, err error) {
	out, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-*")
	if err != nil {
		return m, 0, usage.Errorf("write %s: %w", file, err)
	}
	defer func() {
		if err != nil {
			_ = out.Close()           // the first error counts
			_ = os.Remove(out.Name()) // it is of no use
		}
	}()
	if m, err = bundle.Write(ctx, out, dir, r, o); err != nil {
		return m, 0, err
	}
	st, err := out.Stat()
	if err == nil {
		err = out.Chmod(0o644)
	}
	if err == nil {
		err = out.Close()
	}
	if err == nil {
		err = os.Rename(out.Name(), file)
	}
	if err != nil {
		return m, 0, fmt.Errorf("write %s: %w", file, err)
	}
	return m, st.Size(), nil
}
