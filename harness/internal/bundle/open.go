package bundle

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/unwedge/unwedge/harness/internal/rerun"
	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
	"github.com/unwedge/unwedge/images/guestfile"
	"github.com/unwedge/unwedge/images/kernel"
)

// maxWindow bounds the memory that a compressed stream may ask for, maxManifest the
// manifest.
const (
	maxWindow   = 128 << 20
	maxManifest = 1 << 20
)

// Open makes a Case of a run's directory or result.json, an unpacked bundle, or a bundle,
// which is unpacked into scratch, an empty directory. trust allows a case of somebody
// else's to give QEMU arguments of its own and to reach this host's files. Errors wrap
// usage.Error.
func Open(path, scratch string, limits Limits, trust bool) (*Case, error) {
	c, err := open(path, scratch, limits, trust)
	if err != nil {
		return nil, usage.Errorf("read %s: %w", path, err)
	}
	return c, nil
}

func open(path, scratch string, limits Limits, trust bool) (*Case, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, errors.Unwrap(err)
	}
	dir := path
	switch {
	case st.IsDir():
	case filepath.Base(path) == rundir.Result:
		dir = filepath.Dir(path)
	case !st.Mode().IsRegular():
		return nil, errors.New("neither a run's directory nor a bundle")
	default:
		if err := unpackFile(path, scratch, limits); err != nil {
			return nil, err
		}
		dir = scratch
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	r, err := result.Read(filepath.Join(dir, rundir.Result))
	if errors.Is(err, os.ErrNotExist) {
		return nil, errors.New("no " + rundir.Result + " in it: name a run's directory, or a bundle that unwedge has made")
	}
	if err != nil {
		return nil, err
	}
	spec, err := rerun.Machine(r)
	if err != nil {
		return nil, err
	}
	c := &Case{Dir: dir, Result: r, Machine: spec, Kernel: r.Kernel.Path, Foreign: r.Dir != dir}
	if r.Scenario.BootDisk {
		c.Kernel = ""
	}
	if c.Foreign && !trust {
		if err := harmless(r); err != nil {
			return nil, err
		}
	}
	m, err := readManifest(dir)
	if m == nil || err != nil {
		return c, err
	}
	return c, c.settle(*m)
}

// harmless refuses what a stranger's case must not do on this host.
func harmless(r *result.Result) error {
	sc := r.Scenario
	what := ""
	switch {
	case len(sc.QEMUArgs) > 0:
		what = "gives QEMU arguments of its own: " + strings.Join(sc.QEMUArgs, " ")
	case len(sc.Devices) > 0:
		what = "gives QEMU devices of its own: " + strings.Join(sc.Devices, " ")
	case sc.RootDir != "":
		what = "shows the guest the directory " + sc.RootDir + " of this host"
	case strings.ContainsAny(sc.CPUModel, "=/"):
		what = "gives QEMU a CPU model with options: " + sc.CPUModel
	default:
		return nil
	}
	return errors.New("it may be somebody else's, and " + what + ": if you trust it, use --trust")
}

// readManifest reads the manifest in a directory; nil where there is none.
func readManifest(dir string) (*Manifest, error) {
	f, err := os.Open(filepath.Join(dir, ManifestName))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil //nolint:nilnil // a run's own directory has none
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
	if err != nil {
		return nil, err
	}
	return parseManifest(b)
}

func parseManifest(b []byte) (*Manifest, error) {
	var m Manifest
	if len(b) > maxManifest {
		return nil, errors.New(ManifestName + " is too large")
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("%s: %w", ManifestName, err)
	}
	if m.Schema != Schema {
		return nil, fmt.Errorf("%s: schema %q, this version knows %q", ManifestName, m.Schema, Schema)
	}
	if len(m.Files) > maxFiles {
		return nil, fmt.Errorf("%s: more than %d files", ManifestName, maxFiles)
	}
	for _, f := range m.Files {
		if !plainName.MatchString(f.Name) || f.Name == ManifestName {
			return nil, fmt.Errorf("%s: %q is no plain file name", ManifestName, f.Name)
		}
	}
	return &m, nil
}

// settle checks the files of an unpacked bundle, and has the machine use them.
func (c *Case) settle(m Manifest) error {
	known := map[string]File{}
	for _, f := range m.Files {
		known[f.Name] = f
	}
	var bad error
	at := func(name string) string {
		f, ok := known[name]
		path := filepath.Join(c.Dir, name)
		switch {
		case bad != nil:
		case !ok:
			bad = fmt.Errorf("it boots the file %q, which is not in it", name)
		case f.Absent:
			if c.Absent == nil {
				c.Absent = map[string]File{}
			}
			c.Absent[path] = f
		default:
			bad = check(path, f)
		}
		return path
	}
	if c.Kernel != "" {
		c.Kernel = at(c.Kernel)
	}
	c.Machine = c.Machine.Rename(func(_, name string) string { return at(name) })
	for _, d := range c.Machine.Disks {
		if _, absent := c.Absent[d.Path]; bad == nil && !absent {
			bad = guestfile.Alone(d.Path)
		}
	}
	return bad
}

// check holds a file against the manifest.
func check(path string, f File) error {
	st, err := os.Lstat(path)
	if err != nil || !st.Mode().IsRegular() {
		return fmt.Errorf("%s is missing", f.Name)
	}
	got, err := kernel.HashFile(path)
	if err == nil && got != f.SHA256 {
		err = fmt.Errorf("%s is not what %s says: its checksum differs", f.Name, ManifestName)
	}
	return err
}

func unpackFile(path, dir string, limits Limits) error {
	f, err := os.Open(path)
	if err != nil {
		return errors.Unwrap(err)
	}
	defer f.Close() // only read
	return unpack(f, dir, limits)
}

// errTorn is said of an archive that ends too early or is damaged.
var errTorn = errors.New("the archive is cut short or damaged")

// unpack writes a bundle's files into dir, which is empty: plain files of one folder and
// nothing else, no more bytes than allowed.
func unpack(r io.Reader, dir string, limits Limits) error {
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
	if err != nil {
		return errors.New("not a bundle: it is not compressed with zstd")
	}
	defer z.Close()
	// Headers and padding come on top of the files: less than 4 KiB each.
	all := &io.LimitedReader{R: z, N: limits.Bytes + 4096*maxFiles}
	if err := extract(tar.NewReader(all), dir, limits); err != nil {
		if all.N <= 0 {
			return tooBig(limits)
		}
		return err
	}
	if _, err := io.Copy(io.Discard, all); err != nil { // its checksum stands at the end
		return errTorn
	}
	return nil
}

func tooBig(l Limits) error {
	return fmt.Errorf("it unpacks to more than %s: raise --max-size if you trust it", Size(l.Bytes))
}

func extract(t *tar.Reader, dir string, limits Limits) error {
	folder, total := "", int64(0)
	for n := 0; ; n++ {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			if n == 0 && errors.Is(err, zstd.ErrMagicMismatch) {
				return errors.New("not a bundle: it is not compressed with zstd")
			}
			return errTorn
		}
		base, name, ok := strings.Cut(h.Name, "/")
		switch {
		case h.Typeflag != tar.TypeReg:
			return fmt.Errorf("%q is no plain file", h.Name)
		case !ok || !plainName.MatchString(base) || !plainName.MatchString(name) || folder != "" && base != folder:
			return fmt.Errorf("%q is no file of the bundle's folder", h.Name)
		case n == 0 && name != ManifestName:
			return errors.New("not a bundle: it does not begin with a manifest")
		case n >= maxFiles:
			return fmt.Errorf("more than %d files", maxFiles)
		}
		folder = base
		if total += h.Size; h.Size < 0 || total > limits.Bytes {
			return tooBig(limits)
		}
		if err := writeNew(filepath.Join(dir, name), t, h.Size); err != nil {
			return err
		}
	}
	if folder == "" {
		return errTorn
	}
	return nil
}

func writeNew(path string, r io.Reader, size int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%q is there twice", filepath.Base(path))
	}
	if err != nil {
		return err
	}
	in := &counted{r: r}
	_, err = io.CopyN(f, in, size)
	if in.err != nil || errors.Is(err, io.EOF) {
		err = errTorn
	}
	return errors.Join(err, f.Close())
}

// counted keeps the error of reading apart from that of writing.
type counted struct {
	r   io.Reader
	err error
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		c.err = err
	}
	return n, err
}

// Find looks for the files that are not in the bundle: among those named, each of which
// must be one of them, and among those of their size in a cache of images.
func (c *Case) Find(named []string, cache string) error {
	for _, file := range named {
		if err := c.provide(file); err != nil {
			return usage.Errorf("--disk %s: %w", file, err)
		}
	}
	for path, f := range maps.Clone(c.Absent) {
		here, _ := filepath.Glob(filepath.Join(cache, "*", "*", "*")) // the pattern is valid
		for _, file := range here {
			if st, err := os.Lstat(file); err != nil || !st.Mode().IsRegular() || st.Size() != f.Size {
				continue
			}
			if c.provide(file) == nil {
				break
			}
		}
		if _, still := c.Absent[path]; still {
			return usage.Errorf("boot again: %s (%s, sha256 %s) is not in the bundle: name the disk with --disk", f.Name, Size(f.Size), f.SHA256)
		}
	}
	return nil
}

// provide has the machine use a file for one of the same checksum that is not in the
// bundle.
func (c *Case) provide(file string) error {
	sum, err := kernel.HashFile(file)
	if err != nil {
		return errors.Unwrap(err)
	}
	if file, err = filepath.Abs(file); err != nil {
		return err
	}
	found := false
	c.Machine = c.Machine.Rename(func(_, path string) string {
		if f, ok := c.Absent[path]; ok && f.SHA256 == sum {
			found = true
			delete(c.Absent, path)
			return file
		}
		return path
	})
	if !found {
		return errors.New("its checksum is that of no disk that the bundle lacks")
	}
	return guestfile.Alone(file)
}
