package bundle

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/unwedge/unwedge/harness/internal/machine"
	"github.com/unwedge/unwedge/harness/internal/rerun"
	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
	"github.com/unwedge/unwedge/images/guestfile"
	"github.com/unwedge/unwedge/images/kernel"
)

// Options say what a bundle holds.
type Options struct {
	// Whole packs the disks too; they are named by their checksums else.
	Whole bool
	// Limits bound the files that are packed.
	Limits Limits
}

// evidence are the artifacts that say nothing of the host.
var evidence = []string{rundir.Console, rundir.Agent, rundir.Memory, rundir.Registers, rundir.Probe}

// Write packs the run in dir. The same run gives the same bytes. What cannot be packed
// wraps usage.Error.
func Write(ctx context.Context, w io.Writer, dir string, r *result.Result, o Options) (Manifest, error) {
	bad := func(err error) (Manifest, error) { return Manifest{}, usage.Errorf("bundle %s: %w", dir, err) }
	spec, err := rerun.Machine(r)
	if err != nil {
		return bad(err)
	}
	if r.Scenario.RootDir != "" {
		return bad(fmt.Errorf("its root file system is the directory %s of this host, which is not packed", r.Scenario.RootDir))
	}
	guest, names, err := guestFiles(spec, r, o.Whole)
	if err != nil {
		return bad(err)
	}
	inner, err := anonymous(r, dir, names)
	if err != nil {
		return bad(err)
	}
	named := spec.Rename(func(_, path string) string { return names[path] })
	files := slices.Concat([]File{ofText(rundir.Result, "what the boot showed", inner)}, found(dir), guest)
	if err := weigh(ctx, files); err != nil {
		return bad(err)
	}
	if err := unchanged(r, files); err != nil {
		return bad(err)
	}
	files = append(files, script(named, r, files))
	m := Manifest{Schema: Schema, Files: files}
	if total := sum(files); total > o.Limits.Bytes {
		return bad(fmt.Errorf("its files have %s, which is more than %s: raise --max-size, or leave out --whole", Size(total), Size(o.Limits.Bytes)))
	}
	return m, pack(ctx, w, rundir.Name(r.Scenario.Name, r.Kernel.Release), stamped(r), m)
}

// guestFiles are the files that QEMU is given, and their names by path.
func guestFiles(spec machine.Spec, r *result.Result, whole bool) ([]File, map[string]string, error) {
	var files []File
	var errs []error
	names := map[string]string{}
	add := func(f File) {
		if _, twice := names[f.path]; !twice {
			files, names[f.path] = append(files, f), f.Name
		}
	}
	if !r.Scenario.BootDisk {
		add(File{Name: kernelName, Holds: "the kernel " + r.Kernel.Release, path: r.Kernel.Path})
	}
	disk := 0
	spec.Rename(func(role, path string) string {
		f := File{Name: role, Holds: "given to QEMU as " + role, path: path}
		switch {
		case role == "kernel":
			f.Name, f.Holds = "kernel-booted", r.Kernel.BootedAs
		case strings.HasPrefix(role, "disk"):
			f.Name, f.Absent = role+"."+spec.Disks[disk].Format, !whole
			if err := guestfile.Alone(path); whole && err != nil {
				errs = append(errs, err)
			}
			disk++
		}
		add(f)
		return path
	})
	return files, names, errors.Join(errs...)
}

// found are the artifacts that go along.
func found(dir string) []File {
	var files []File
	dumps, _ := filepath.Glob(filepath.Join(dir, "dump-*")) // the pattern is valid
	for _, name := range slices.Concat(evidence, dumps) {
		name = filepath.Base(name)
		if st, err := os.Lstat(filepath.Join(dir, name)); err == nil && st.Mode().IsRegular() {
			files = append(files, File{Name: name, Holds: "of the boot", path: filepath.Join(dir, name)})
		}
	}
	return files
}

// weigh fills in sizes and checksums.
func weigh(ctx context.Context, files []File) error {
	for i := range files {
		f := &files[i]
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if f.path == "" {
			continue
		}
		st, err := os.Stat(f.path)
		if errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%s is gone (%s): boot it again", f.path, f.Holds)
		}
		if err != nil {
			return err
		}
		if f.SHA256, err = kernel.HashFile(f.path); err != nil {
			return err
		}
		f.Size = st.Size()
	}
	return nil
}

// unchanged says that the files are those that were booted: the kernel by its checksum,
// the others by their times.
func unchanged(r *result.Result, files []File) error {
	for _, f := range files {
		if f.path == "" || !strings.HasPrefix(f.Holds, "given to") && f.Name != kernelName {
			continue
		}
		if f.Name == kernelName {
			if f.SHA256 != r.Kernel.SHA256 {
				return fmt.Errorf("%s is not the kernel that was booted any more: boot it again", f.path)
			}
			continue
		}
		if st, err := os.Stat(f.path); err == nil && st.ModTime().After(r.Times.Started) {
			return fmt.Errorf("%s was changed after the boot: boot it again", f.path)
		}
	}
	return nil
}

func sum(files []File) (total int64) {
	for _, f := range files {
		if !f.Absent {
			total += f.Size
		}
	}
	return total
}

// pack writes the archive.
func pack(ctx context.Context, w io.Writer, folder string, at time.Time, m Manifest) error {
	list, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("bundle: list files: %w", err)
	}
	z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedBetterCompression))
	if err != nil {
		return fmt.Errorf("bundle: compress: %w", err)
	}
	t := tar.NewWriter(z)
	all := append([]File{ofText(ManifestName, "", list)}, m.Files...)
	for _, f := range all {
		if f.Absent {
			continue
		}
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := put(t, folder, at, f); err != nil {
			return fmt.Errorf("bundle %s: %w", f.Name, err)
		}
	}
	return errors.Join(t.Close(), z.Close())
}

func put(t *tar.Writer, folder string, at time.Time, f File) error {
	mode := int64(0o644)
	if f.Name == rundir.Command {
		mode = 0o755
	}
	err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: folder + "/" + f.Name, Size: f.Size, Mode: mode, ModTime: at, Format: tar.FormatUSTAR})
	if err != nil {
		return err
	}
	var in io.Reader = bytes.NewReader(f.text)
	if f.path != "" {
		file, err := os.Open(f.path)
		if err != nil {
			return err
		}
		defer file.Close() // only read
		in = file
	}
	_, err = io.CopyN(t, in, f.Size)
	return err
}

// script is qemu.sh.
func script(s machine.Spec, r *result.Result, files []File) File {
	qemu := filepath.Base(s.QEMU)
	s.QEMU = "qemu"
	command := func(s machine.Spec) string { return `"$` + s.QEMU + `"` + strings.TrimPrefix(s.CommandLine(), s.QEMU) }
	var b strings.Builder
	fmt.Fprintf(&b, `#!/bin/sh
# Boots this bundle's guest again. QEMU is all that it needs (%s was used; QEMU=PROGRAM
# names another). The console is on this terminal; Ctrl-A x ends it.
set -eu
cd "$(dirname "$0")"
qemu=${QEMU:-%s}
`, r.Host.QEMUVersion, qemu)
	for _, f := range files {
		if f.Absent {
			fmt.Fprintf(&b, `echo '%[2]s  %[1]s' | sha256sum --quiet -c || { echo "%[1]s is not in this bundle: copy the disk with that checksum to it" >&2; exit 1; }
`, f.Name, f.SHA256)
		}
	}
	if s.Accel == result.KVM {
		tcg := s
		tcg.Accel = result.TCG
		fmt.Fprintf(&b, "# It ran under KVM; ACCEL=tcg does without.\nif [ \"${ACCEL:-kvm}\" = tcg ]; then\nexec %s\nfi\n", command(tcg))
	}
	fmt.Fprintf(&b, "exec %s\n", command(s))
	return ofText(rundir.Command, "boots the guest", []byte(b.String()))
}

// ofText is a file that this program has written.
func ofText(name, holds string, text []byte) File {
	sum := sha256.Sum256(text)
	return File{Name: name, Holds: holds, Size: int64(len(text)), SHA256: hex.EncodeToString(sum[:]), text: text}
}
