package candidate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/images/internal/mirror"
)

// kernelSuites are the suites that hold kernels for the architectures there
// are, as the archive names them. Old ones move away from the mirrors.
var kernelSuites = []string{
	"bullseye", "bullseye-security", "bookworm", "bookworm-security", "bookworm-backports",
	"trixie", "trixie-security", "trixie-backports", "sid",
}

const imagePrefix = "linux-image-"

// WithBase names the suites too that the suites of a pattern are additions to:
// Debian builds backports for a release, of newer versions only, and security
// updates for it, so that most older kernels of trixie-backports are in trixie. ok is
// false where the pattern names no such suite, or has its base already.
func WithBase(pattern string) (wider string, ok bool) {
	name, list, _ := strings.Cut(pattern, "@")
	var suites []string
	add := func(suite string) {
		if !slices.Contains(suites, suite) {
			suites = append(suites, suite)
		}
	}
	for suite := range strings.SplitSeq(list, ",") {
		if base, _, isAddition := strings.Cut(suite, "-"); isAddition {
			for _, known := range kernelSuites {
				if known == base || known == base+"-security" {
					add(known)
				}
			}
		}
		add(suite)
	}
	wider = name + "@" + strings.Join(suites, ",")
	return wider, strings.HasPrefix(pattern, "deb:") && len(suites) > strings.Count(list, ",")+1
}

// archive lists packages of the Debian archive.
func (l *Listing) archive(ctx context.Context, text string, opts Options) error {
	name, list, named := strings.Cut(text, "@")
	suites := kernelSuites
	if named {
		suites = strings.Split(list, ",")
	}
	var specs []archiveSpec
	for _, suite := range suites {
		spec, err := parseSpec(name+"@"+suite, opts.Arch)
		var bad *NotFoundError
		if errors.As(err, &bad) {
			return &NotFoundError{l.Pattern, bad.Reason} // as the user wrote it
		}
		if err != nil {
			return err
		}
		specs = append(specs, spec)
	}
	fits, err := packageFilter(specs[0])
	if err != nil {
		return &NotFoundError{l.Pattern, err.Error()}
	}
	seen := map[string]bool{}
	var failed error
	for _, spec := range specs {
		found, err := l.suite(ctx, spec, fits, opts)
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case named && errors.Is(err, errNoSuite):
			return &NotFoundError{l.Pattern, fmt.Sprintf("the mirror has no suite %q: suites that hold kernels are %s", spec.suite, strings.Join(kernelSuites, ", "))}
		default:
			failed = cmp.Or(failed, err)
			l.note("%s is left out: %v", spec.suite, err)
		}
		for _, p := range found {
			if key := p.Package + "=" + p.Version; !seen[key] {
				seen[key] = true
				l.Packages = append(l.Packages, p)
			}
		}
	}
	if len(l.Packages) > 0 {
		return nil
	}
	if failed != nil && len(l.Notes) >= len(specs) {
		return failed
	}
	reason := fmt.Sprintf("no released kernel of %s for %s matches", strings.Join(suites, ", "), specs[0].arch)
	if len(l.Notes) > 0 {
		reason += "; " + strings.Join(l.Notes, "; ")
	}
	return &NotFoundError{l.Pattern, reason}
}

// packageFilter says which image packages a spec means: a metapackage stands
// for all of its flavour, anything else is a pattern.
func packageFilter(spec archiveSpec) (func(name string) bool, error) {
	if spec.version != "" {
		return nil, errors.New("a version names one kernel, not a list: drop =" + spec.version)
	}
	if _, err := path.Match(spec.pkg, ""); err != nil {
		return nil, fmt.Errorf("%q is not a valid pattern", spec.pkg)
	}
	flavour, isKernel := strings.CutPrefix(spec.pkg, imagePrefix)
	meta := isKernel && !strings.ContainsAny(spec.pkg, "*?[") && isMeta(spec.pkg)
	return func(name string) bool {
		if !isImage(name) || isMeta(name) || archOfPackage(name) != spec.arch {
			return false
		}
		if meta {
			return flavourOf(strings.TrimPrefix(name, imagePrefix)) == flavour
		}
		ok, err := path.Match(spec.pkg, name)
		return err == nil && ok
	}, nil
}

// suite lists the packages of one suite, from signed lists no older than a day
// where the mirror answers.
func (l *Listing) suite(ctx context.Context, spec archiveSpec, fits func(string) bool, opts Options) ([]PackageVersion, error) {
	uri, err := mirror.Find(opts.Mirror, spec.suite, cmp.Or(opts.aptSources, mirror.AptSources))
	if err != nil {
		return nil, err
	}
	a := newApt(opts, uri, spec)
	unlock, err := lockDir(ctx, a.dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := a.update(ctx, opts.Refresh); err != nil {
		return nil, err
	}
	images, parts, err := a.images(ctx, fits)
	if err != nil {
		return nil, err
	}
	var out []PackageVersion
	var gone []string
	for _, img := range images {
		whole := gather(img, parts)
		u, ok := ParseUpstream(img.Version)
		switch {
		case whole.meta:
			continue
		case whole.gone || !ok:
			gone = append(gone, img.Name)
			continue
		}
		release := strings.TrimPrefix(img.Name, imagePrefix)
		out = append(out, PackageVersion{
			Package: img.Name, Version: img.Version, Upstream: u, Release: release, Arch: spec.arch, Flavour: flavourOf(release), Suite: spec.suite,
			Arg: fmt.Sprintf("deb:%s=%s@%s", img.Name, img.Version, spec.suite), Lacks: whole.lacks, Size: whole.size,
		})
	}
	if len(gone) > 0 {
		l.note("%s: %d left out, because the suite no longer has the package with the kernel: %s", spec.suite, len(gone), some(gone))
	}
	return out, nil
}

// some names a few of many.
func some(names []string) string {
	const few = 3
	if len(names) <= few {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:few], ", "), len(names)-few)
}

// images reads the stanzas of the image packages that fit, and of the packages
// that hold parts of them, by name=version.
func (a *apt) images(ctx context.Context, fits func(string) bool) (images []debPackage, parts map[string]debPackage, err error) {
	out, err := a.run(ctx, a.dir, "apt-cache", "pkgnames", imagePrefix)
	if err != nil {
		return nil, nil, err
	}
	var names []string
	for name := range strings.Lines(string(out)) {
		if name = strings.TrimSpace(name); fits(name) {
			names = append(names, name)
		}
	}
	if images, err = a.stanzas(ctx, names); err != nil {
		return nil, nil, err
	}
	images = slices.DeleteFunc(images, func(p debPackage) bool { return !fits(p.Name) })
	slices.SortFunc(images, func(p, q debPackage) int { return compareVersions(p.Version, q.Version) })
	parts, asked := map[string]debPackage{}, map[string]bool{}
	const maxDepth = 4 // linux-image needs linux-binary needs linux-base
	for level, depth := images, 0; len(level) > 0 && depth < maxDepth; depth++ {
		var want []string
		for _, p := range level {
			for _, d := range kernelDepends(p.Depends) {
				if !asked[d.name] {
					asked[d.name] = true
					want = append(want, d.name)
				}
			}
		}
		if level, err = a.stanzas(ctx, want); err != nil {
			return nil, nil, err
		}
		for _, p := range level {
			parts[p.Name+"="+p.Version] = p
		}
	}
	return images, parts, nil
}

// stanzas reads all versions of the packages named. Those that the lists do
// not hold are left out.
func (a *apt) stanzas(ctx context.Context, names []string) ([]debPackage, error) {
	var all []debPackage
	for chunk := range slices.Chunk(names, 500) { // far below the longest command line there may be
		out, err := a.run(ctx, a.dir, "apt-cache", append([]string{"show"}, chunk...)...)
		if err != nil && ctx.Err() != nil {
			return nil, err
		}
		if err != nil { // none of them is there
			continue
		}
		all = append(all, parseStanzas(string(out))...)
	}
	return slices.DeleteFunc(all, func(p debPackage) bool { return p.SHA256 == "" }), nil
}

// pieces are the packages of one kernel: the image package and what it needs.
type pieces struct {
	size  int64
	lacks []string // dispensable ones that are not there
	gone  bool     // another one is not there
	meta  bool     // it stands for another image package
}

func gather(img debPackage, parts map[string]debPackage) pieces {
	var out pieces
	seen := map[string]bool{}
	for todo := []debPackage{img}; len(todo) > 0; todo = todo[1:] {
		out.size += todo[0].Size
		for _, d := range kernelDepends(todo[0].Depends) {
			key := d.name + "=" + d.version
			if seen[key] {
				continue
			}
			seen[key] = true
			part, ok := parts[key]
			switch {
			case strings.HasPrefix(d.name, imagePrefix):
				out.meta = true
			case ok:
				todo = append(todo, part)
			case dispensable(d.name):
				out.lacks = append(out.lacks, d.name)
			default:
				out.gone = true
			}
		}
	}
	slices.Sort(out.lacks)
	return out
}
