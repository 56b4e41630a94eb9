package candidate

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/unwedge/unwedge/images/cache"
	"github.com/unwedge/unwedge/images/internal/mirror"
	"github.com/unwedge/unwedge/images/progress"
	"github.com/unwedge/unwedge/scenarios/arch"
)

const defaultSuite = "bookworm"

// archiveSpec is a parsed deb:PACKAGE[=VERSION][@SUITE].
type archiveSpec struct {
	pkg, version, suite string
	arch                arch.Arch
}

// These go into an apt configuration file and a file name, so what they may
// hold is bounded: Debian policy 5.6.1 and 5.6.12, and glob characters.
var (
	packageRE = regexp.MustCompile(`^[a-z0-9*?\[\]][a-z0-9+.*?\[\]-]+$`)
	versionRE = regexp.MustCompile(`^[0-9][A-Za-z0-9.+:~-]*$`)
	suiteRE   = regexp.MustCompile(`^[a-z][a-z0-9.-]*$`)
)

func parseSpec(s string, want arch.Arch) (archiveSpec, error) {
	bad := func(reason string) (archiveSpec, error) {
		return archiveSpec{}, &NotFoundError{"deb:" + s, reason}
	}
	spec := archiveSpec{suite: defaultSuite, arch: want}
	rest, suite, ok := strings.Cut(s, "@")
	if ok {
		spec.suite = suite
	}
	spec.pkg, spec.version, ok = strings.Cut(rest, "=")
	switch {
	case !packageRE.MatchString(spec.pkg):
		return bad("not a package name: want deb:PACKAGE[=VERSION][@SUITE]")
	case ok && !versionRE.MatchString(spec.version):
		return bad(fmt.Sprintf("%q is not a version", spec.version))
	case !suiteRE.MatchString(spec.suite):
		return bad(fmt.Sprintf("%q is not a suite", spec.suite))
	}
	named := archOfPackage(spec.pkg)
	switch {
	case spec.arch == "" && named == "":
		return bad("the package's name does not show its architecture: use --arch")
	case spec.arch == "":
		spec.arch = named
	case named != "" && named != spec.arch:
		return bad(fmt.Sprintf("a package for %s, but %s is wanted", named, spec.arch))
	}
	return spec, nil
}

// archOfPackage reads the architecture off a kernel package's name, such as
// linux-image-6.12.43+deb13-arm64-16k.
func archOfPackage(name string) arch.Arch {
	for _, part := range strings.Split(name, "-") {
		for _, a := range arch.All() {
			if part == a.Facts().Debian {
				return a
			}
		}
	}
	return ""
}

// resolution remembers what a spec led to, so that asking again costs no run
// of apt.
type resolution struct {
	Inputs []string  `json:"inputs"` // of the cache entry
	Origin string    `json:"origin"`
	Lacks  []string  `json:"lacks,omitempty"`
	When   time.Time `json:"when"`
}

func (r resolution) key() cache.Key { return cache.Key{Kind: "kernel", Inputs: r.Inputs} }

// resolveArchive takes a kernel from the Debian archive, through apt.
func resolveArchive(ctx context.Context, text string, opts Options) (*Candidate, error) {
	spec, err := parseSpec(text, opts.Arch)
	if err != nil {
		return nil, err
	}
	archive, err := mirror.Find(opts.Mirror, spec.suite, cmp.Or(opts.aptSources, mirror.AptSources))
	if err != nil {
		return nil, err
	}
	a := newApt(opts, archive, spec)
	memo := filepath.Join(a.dir, "resolved.json")
	known := readMemo(memo)
	name := spec.pkg + "=" + spec.version
	if r, ok := known[name]; ok && !opts.Refresh {
		_, cached := opts.Cache.Lookup(r.key())
		if cached && (spec.version != "" || a.fresh(time.Now())) {
			return a.candidate(ctx, opts.Cache, r, nil)
		}
	}
	unlock, err := lockDir(ctx, a.dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := a.update(ctx, opts.Refresh); err != nil {
		return nil, err
	}
	pkgs, lacks, err := a.resolve(ctx, spec)
	if err != nil {
		return nil, err
	}
	r := resolution{Inputs: []string{"package v1"}, Lacks: lacks, When: time.Now().UTC()}
	for _, p := range pkgs {
		r.Inputs = append(r.Inputs, p.SHA256)
	}
	r.Origin = fmt.Sprintf("deb:%s=%s@%s", pkgs[0].Name, pkgs[0].Version, spec.suite)
	c, err := a.candidate(ctx, opts.Cache, r, pkgs)
	if err != nil {
		return nil, err
	}
	known = readMemo(memo)
	known[name] = r
	known[pkgs[0].Name+"="+pkgs[0].Version] = r
	return c, writeMemo(memo, known)
}

// candidate takes the entry from the cache, or builds it from packages.
func (a *apt) candidate(ctx context.Context, store *cache.Store, r resolution, pkgs []debPackage) (*Candidate, error) {
	dir, err := store.Get(ctx, r.key(), func(ctx context.Context, dir string) error {
		if pkgs == nil { // pruned since it was looked up
			return errors.New("the cached kernel was removed meanwhile: try again")
		}
		files, clean, err := a.download(ctx, pkgs)
		if err != nil {
			return err
		}
		defer clean()
		if err := extractInto(ctx, dir, extractDeb, files...); err != nil {
			return err
		}
		return describe(ctx, dir, r.Origin)
	})
	if err != nil {
		return nil, err
	}
	c, err := readRecord(dir)
	if err != nil {
		return nil, err
	}
	c.Origin, c.Lacks = r.Origin, r.Lacks
	return c, nil
}

func readMemo(path string) map[string]resolution {
	known := map[string]resolution{}
	if b, err := os.ReadFile(path); err == nil && json.Unmarshal(b, &known) != nil {
		return map[string]resolution{} // a memo that cannot be read is no memo
	}
	return known
}

func writeMemo(path string, known map[string]resolution) error {
	b, err := json.MarshalIndent(known, "", "  ")
	if err != nil {
		return fmt.Errorf("remember package: %w", err)
	}
	tmp := path + ".tmp" // the caller holds the directory's lock
	if err := os.WriteFile(tmp, b, 0o644); err != nil {
		return fmt.Errorf("remember package: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("remember package: %w", err)
	}
	return nil
}

// note tells the user about something that is not an error.
func note(ctx context.Context, name, text string) {
	t := progress.From(ctx).Task(name, 0)
	t.Note(text)
	t.Done(nil)
}
