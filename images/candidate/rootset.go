package candidate

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/unwedge/unwedge/images/cache"
	"github.com/unwedge/unwedge/images/internal/mirror"
	"github.com/unwedge/unwedge/images/progress"
)

// RootSet says what a root file system is unpacked from.
type RootSet struct {
	// Suite is the Debian suite.
	Suite string
	// Packages are unpacked with all that they depend on; recommendations are not.
	Packages []string
	// Exclude are patterns of absolute paths that are left out, where * matches
	// any text, as in dpkg's path-exclude.
	Exclude []string
}

// ArchiveRoot unpacks packages of the Debian archive for Options.Arch below dir, which
// must exist and be empty. apt chooses and fetches them and checks the signatures. No
// root is needed, nor anything that runs the packages' programs: maintainer scripts are
// not run. All files are the caller's own, and set-user-ID bits are dropped, which
// nobody needs in a guest whose programs all run as root. /bin, /sbin and /lib* are
// links into /usr.
func ArchiveRoot(ctx context.Context, dir string, set RootSet, opts Options) error {
	if opts.Cache == nil {
		store, err := cache.Default()
		if err != nil {
			return err
		}
		opts.Cache = store
	}
	if !suiteRE.MatchString(set.Suite) {
		return fmt.Errorf("unpack root file system: %q is not a suite", set.Suite)
	}
	debs, clean, err := fetchSet(ctx, set, opts)
	if err != nil {
		return err
	}
	defer clean()
	excluded, err := pathPatterns(set.Exclude)
	if err != nil {
		return err
	}
	out, err := newUnpacker(dir)
	if err != nil {
		return err
	}
	defer out.Close()
	out.all, out.tree = true, true
	out.excluded = excluded
	if err := out.mergeUsr(); err != nil {
		return err
	}
	return unpackSet(ctx, out, debs)
}

func unpackSet(ctx context.Context, out *unpacker, debs []string) (err error) {
	var size int64
	for _, p := range debs {
		st, err := os.Stat(p)
		if err != nil {
			return fmt.Errorf("open package: %w", err)
		}
		size += st.Size()
	}
	out.task = progress.From(ctx).Task(fmt.Sprintf("unpack %d packages", len(debs)), size)
	defer func() { out.task.Done(err) }()
	for _, p := range debs {
		out.archive = p
		if err := extractDeb(ctx, p, out); err != nil {
			return err
		}
	}
	return nil
}

// fetchSet downloads the set's packages to a directory that clean removes.
func fetchSet(ctx context.Context, set RootSet, opts Options) (debs []string, clean func(), err error) {
	archive, err := mirror.Find(opts.Mirror, set.Suite, cmp.Or(opts.aptSources, mirror.AptSources))
	if err != nil {
		return nil, nil, err
	}
	a := newApt(opts, archive, archiveSpec{suite: set.Suite, arch: opts.Arch})
	unlock, err := lockDir(ctx, a.dir)
	if err != nil {
		return nil, nil, err
	}
	defer unlock()
	if err := a.update(ctx, opts.Refresh); err != nil {
		return nil, nil, err
	}
	debs, clean, err = a.downloadSet(ctx, set.Packages)
	if err != nil && !opts.Refresh && ctx.Err() == nil { // the lists may be older than the pool
		if a.update(ctx, true) == nil {
			debs, clean, err = a.downloadSet(ctx, set.Packages)
		}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("download the packages of %s %s: %w", set.Suite, opts.Arch.Facts().Debian, err)
	}
	return debs, clean, nil
}

// downloadSet downloads packages with what they depend on.
func (a *apt) downloadSet(ctx context.Context, names []string) (debs []string, clean func(), err error) {
	dir, err := os.MkdirTemp(a.dir, "download-")
	if err != nil {
		return nil, nil, fmt.Errorf("download packages: %w", err)
	}
	remove := func() { os.RemoveAll(dir) }
	defer func() {
		if err != nil {
			remove()
		}
	}()
	if err := os.Mkdir(filepath.Join(dir, "partial"), 0o755); err != nil {
		return nil, nil, fmt.Errorf("download packages: %w", err)
	}
	args := slices.Concat([]string{
		"-q", "-y", "-o", "Debug::NoLocking=1", "-o", "APT::Install-Recommends=false", "-o", "Dir::Cache::archives=" + dir,
	}, []string{"install"}, names)
	listed, err := a.run(ctx, a.dir, "apt-get", append([]string{"--print-uris"}, args...)...)
	if err != nil {
		return nil, nil, err
	}
	count, size := parseURIs(string(listed))
	task := progress.From(ctx).Task(fmt.Sprintf("download %d packages of %s %s", count, a.spec.suite, a.spec.arch.Facts().Debian), size)
	stop := watchSize(dir, task)
	_, err = a.run(ctx, a.dir, "apt-get", append([]string{"--download-only"}, args...)...)
	stop()
	task.Done(err)
	if err != nil {
		return nil, nil, err
	}
	if debs, err = filepath.Glob(filepath.Join(dir, "*.deb")); err == nil && (len(debs) != count || count == 0) {
		err = fmt.Errorf("apt-get fetched %d of %d packages", len(debs), count)
	}
	return debs, remove, err
}

// A line of apt-get --print-uris: 'URI' FILE SIZE HASH.
var uriRE = regexp.MustCompile(`(?m)^'[^']+' \S+\.deb (\d+) `)

func parseURIs(text string) (count int, size int64) {
	for _, m := range uriRE.FindAllStringSubmatch(text, -1) {
		n, _ := strconv.ParseInt(m[1], 10, 64) // only shown
		count, size = count+1, size+n
	}
	return count, size
}

// watchSize reports the growth of what a directory holds, until stop is called.
func watchSize(dir string, task progress.Task) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		var seen int64
		for ended := false; !ended; {
			select {
			case <-quit:
				ended = true
			case <-tick.C:
			}
			var now int64
			_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
				if err != nil || !d.Type().IsRegular() {
					return nil //nolint:nilerr // files come and go while apt works
				}
				if info, err := d.Info(); err == nil {
					now += info.Size()
				}
				return nil
			})
			if now > seen {
				task.Add(now - seen)
				seen = now
			}
		}
	}()
	return func() { close(quit); <-done }
}

// pathPatterns turns patterns with * into one regular expression, nil for none.
func pathPatterns(patterns []string) (*regexp.Regexp, error) {
	if len(patterns) == 0 {
		return nil, nil //nolint:nilnil // nothing is excluded
	}
	var all []string
	for _, p := range patterns {
		all = append(all, strings.ReplaceAll(regexp.QuoteMeta(p), `\*`, `.*`))
	}
	re, err := regexp.Compile("^(?:" + strings.Join(all, "|") + ")$")
	if err != nil {
		return nil, fmt.Errorf("exclude files: %w", err)
	}
	return re, nil
}

// usrDirs are the top directories that merged-usr systems have as links into /usr
// (Debian since 12, systemd since 255).
var usrDirs = []string{"bin", "sbin", "lib", "lib32", "lib64", "libx32"}

func (u *unpacker) mergeUsr() error {
	for _, d := range usrDirs {
		if strings.HasSuffix(d, "32") {
			continue // only named in packages of other architectures
		}
		if err := u.root.MkdirAll("usr/"+d, 0o755); err != nil {
			return fmt.Errorf("unpack package: %w", err)
		}
		if err := u.root.Symlink("usr/"+d, d); err != nil {
			return fmt.Errorf("unpack package: %w", err)
		}
	}
	return nil
}

// merged puts what a package has in /bin and the like where those lead.
func merged(name string) string {
	first, _, _ := strings.Cut(name, "/")
	if slices.Contains(usrDirs, first) {
		return path.Join("usr", name)
	}
	return name
}
