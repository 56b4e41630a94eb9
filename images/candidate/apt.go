package candidate

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/unwedge/unwedge/images/internal/child"
	"github.com/unwedge/unwedge/images/progress"
)

const (
	debianKeyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
	listMaxAge    = 24 * time.Hour
)

// errNoSuite says that a mirror answers and has no such suite.
var errNoSuite = errors.New("no such suite")

// apt runs the host's apt for one mirror, suite and architecture, with a state
// of its own: the host's lists, cache and configuration are not touched, and
// no root is needed. apt checks the signatures.
type apt struct {
	dir, mirror, keyring string
	spec                 archiveSpec
}

func newApt(opts Options, mirror string, spec archiveSpec) *apt {
	sum := sha256.Sum256([]byte(mirror))
	name := fmt.Sprintf("%s-%s-%s", spec.suite, spec.arch.Facts().Debian, hex.EncodeToString(sum[:4]))
	return &apt{
		dir: filepath.Join(opts.Cache.Dir(), "apt", name), mirror: mirror,
		keyring: cmp.Or(opts.keyring, debianKeyring), spec: spec,
	}
}

func (a *apt) stamp() string { return filepath.Join(a.dir, "updated") }

// fresh says whether the lists were fetched within a day.
func (a *apt) fresh(now time.Time) bool {
	st, err := os.Stat(a.stamp())
	return err == nil && now.Sub(st.ModTime()) < listMaxAge
}

// update fetches the package lists where they are older than a day. Old lists
// still serve while the mirror is out of reach.
func (a *apt) update(ctx context.Context, force bool) error {
	if !force && a.fresh(time.Now()) {
		return nil
	}
	if err := a.configure(ctx); err != nil {
		return err
	}
	task := progress.From(ctx).Task(fmt.Sprintf("fetch package lists of %s %s", a.spec.suite, a.spec.arch.Facts().Debian), 0)
	// Without Error-Mode apt-get update ends with 0 although nothing came.
	_, err := a.run(ctx, a.dir, "apt-get", "-q", "-o", "APT::Update::Error-Mode=any", "update")
	task.Done(err)
	if err != nil {
		if _, old := os.Stat(a.stamp()); old == nil && !force && ctx.Err() == nil {
			note(ctx, "package lists of "+a.spec.suite, "not refreshed, using the old ones: "+err.Error())
			return nil
		}
		if strings.Contains(err.Error(), "does not have a Release file") { // what apt says of a 404
			err = fmt.Errorf("%w: %w", errNoSuite, err)
		}
		return fmt.Errorf("fetch package lists of %s from %s: %w", a.spec.suite, a.mirror, err)
	}
	return os.WriteFile(a.stamp(), nil, 0o644)
}

// configure writes apt's configuration below the state directory.
func (a *apt) configure(ctx context.Context) error {
	if _, err := os.Stat(a.keyring); err != nil {
		return fmt.Errorf("the Debian archive's keys are missing: install the package debian-archive-keyring: %w", err)
	}
	for _, d := range []string{"lists/partial", "archives/partial", "etc/apt.conf.d", "etc/preferences.d"} {
		if err := os.MkdirAll(filepath.Join(a.dir, d), 0o755); err != nil {
			return fmt.Errorf("prepare apt: %w", err)
		}
	}
	debian := a.spec.arch.Facts().Debian
	files := map[string]string{
		"status":       "",
		"sources.list": fmt.Sprintf("deb [arch=%s signed-by=%s] %s %s main\n", debian, a.keyring, a.mirror, a.spec.suite),
		"apt.conf": fmt.Sprintf(`%s
Dir::State %[2]q;
Dir::State::lists "lists/";
Dir::State::status "%[2]s/status";
Dir::Cache %[2]q;
Dir::Etc "%[2]s/etc";
Dir::Etc::sourcelist "%[2]s/sources.list";
Dir::Etc::sourceparts "/dev/null";
APT::Architecture %[3]q;
APT::Architectures { %[3]q; };
Acquire::Languages "none";
Acquire::Retries "2";
%[4]s`, a.hostAcquire(ctx), a.dir, debian, sandbox()),
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(a.dir, name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("prepare apt: %w", err)
		}
	}
	return nil
}

// sandbox: as root, apt would fetch as the user _apt, who cannot write here.
func sandbox() string {
	if os.Geteuid() == 0 {
		return "APT::Sandbox::User \"root\";\n"
	}
	return ""
}

// hostAcquire keeps what the host says about reaching mirrors: its proxies.
func (a *apt) hostAcquire(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "apt-config", "dump", "--format", `%f "%v";%n`, "Acquire").Output()
	if err != nil {
		return "" // the mirror is then reached without a proxy, or not at all
	}
	var keep []string
	for line := range strings.Lines(string(out)) {
		low := strings.ToLower(line)
		if (strings.HasPrefix(low, "acquire::http") || strings.HasPrefix(low, "acquire::force")) && !strings.HasSuffix(line, " \"\";\n") {
			keep = append(keep, line)
		}
	}
	return strings.Join(keep, "")
}

// run runs one of apt's programs with this configuration and returns what it
// printed. The error carries apt's own first "E:" line.
func (a *apt) run(ctx context.Context, dir, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "APT_CONFIG="+filepath.Join(a.dir, "apt.conf"), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := child.Run(cmd) // apt that is left holds the lists' lock
	switch {
	case err == nil:
		return out.Bytes(), nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, exec.ErrNotFound):
		return nil, fmt.Errorf("deb: needs %s, which is not installed: %w", name, err)
	}
	for line := range strings.Lines(errs.String()) {
		if text, ok := strings.CutPrefix(line, "E: "); ok {
			return nil, errors.New(strings.TrimSpace(text))
		}
	}
	return nil, fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
}

// debPackage is one stanza of a package list.
type debPackage struct {
	Name, Version, Depends, SHA256 string
	Size                           int64
}

// resolve finds the packages that hold the kernel and its modules, the image
// package first. lacks are those the suite has dropped while it keeps the kernel.
func (a *apt) resolve(ctx context.Context, spec archiveSpec) (found []debPackage, lacks []string, err error) {
	name, err := a.expand(ctx, spec)
	if err != nil {
		return nil, nil, err
	}
	first, err := a.show(ctx, name, spec.version)
	if err != nil {
		return nil, nil, err
	}
	const maxPackages = 32
	found = []debPackage{first}
	for i := 0; i < len(found) && len(found) < maxPackages; i++ {
		for _, d := range kernelDepends(found[i].Depends) {
			if slices.ContainsFunc(found, func(p debPackage) bool { return p.Name == d.name }) {
				continue
			}
			p, err := a.show(ctx, d.name, d.version)
			if errors.As(err, new(*NotFoundError)) && dispensable(d.name) {
				lacks = append(lacks, d.name)
				continue
			}
			if err != nil {
				return nil, nil, fmt.Errorf("%s needs it: %w", found[i].Name, err)
			}
			found = append(found, p)
		}
	}
	found = slices.DeleteFunc(found, func(p debPackage) bool { return isMeta(p.Name) })
	if len(found) == 0 {
		return nil, nil, fmt.Errorf("package %s of %s: it depends on no kernel image package", name, spec.suite)
	}
	slices.SortStableFunc(found, func(x, y debPackage) int { return cmp.Compare(imageRank(x.Name), imageRank(y.Name)) })
	return found, slices.Compact(slices.Sorted(slices.Values(lacks))), nil
}

func imageRank(name string) int {
	if strings.HasPrefix(name, "linux-image-") {
		return 0
	}
	return 1
}

// expand turns a glob into the newest package that fits.
func (a *apt) expand(ctx context.Context, spec archiveSpec) (string, error) {
	if !strings.ContainsAny(spec.pkg, "*?[") {
		return spec.pkg, nil
	}
	prefix := spec.pkg[:strings.IndexAny(spec.pkg, "*?[")]
	out, err := a.run(ctx, a.dir, "apt-cache", "pkgnames", prefix)
	if err != nil {
		return "", err
	}
	var best debPackage
	for name := range strings.Lines(string(out)) {
		name = strings.TrimSpace(name)
		if ok, err := path.Match(spec.pkg, name); err != nil || !ok || !isImage(name) || isMeta(name) {
			continue
		}
		p, err := a.show(ctx, name, spec.version)
		if err != nil {
			continue // not in this version
		}
		if best.Name == "" || better(p, best) {
			best = p
		}
	}
	if best.Name == "" {
		return "", &NotFoundError{"deb:" + spec.pkg, "no kernel image package of " + spec.suite + " matches"}
	}
	return best.Name, nil
}

// better prefers the newer version, then the shorter name: no flavour.
func better(a, b debPackage) bool {
	if c := compareVersions(a.Version, b.Version); c != 0 {
		return c > 0
	}
	return len(a.Name) < len(b.Name) || len(a.Name) == len(b.Name) && a.Name < b.Name
}

// show reads a package's stanza; version "" means the newest.
func (a *apt) show(ctx context.Context, name, version string) (debPackage, error) {
	out, err := a.run(ctx, a.dir, "apt-cache", "show", name)
	if err != nil {
		return debPackage{}, &NotFoundError{"deb:" + name, fmt.Sprintf("no such package in %s for %s", a.spec.suite, a.spec.arch.Facts().Debian)}
	}
	var best debPackage
	var versions []string
	for _, p := range parseStanzas(string(out)) {
		if p.Name != name || p.SHA256 == "" {
			continue
		}
		versions = append(versions, p.Version)
		if (version == "" || p.Version == version) && (best.Name == "" || compareVersions(p.Version, best.Version) > 0) {
			best = p
		}
	}
	if len(versions) == 0 {
		return best, &NotFoundError{"deb:" + name, fmt.Sprintf("%s no longer has it for %s", a.spec.suite, a.spec.arch.Facts().Debian)}
	}
	if best.Name == "" {
		return best, &NotFoundError{"deb:" + name + "=" + version, fmt.Sprintf("%s has version %s only", a.spec.suite, strings.Join(versions, ", "))}
	}
	return best, nil
}

// download fetches the packages to a directory that clean removes. apt checks
// their sums against the signed lists.
func (a *apt) download(ctx context.Context, pkgs []debPackage) (files []string, clean func(), err error) {
	dir, err := os.MkdirTemp(a.dir, "download-")
	if err != nil {
		return nil, nil, fmt.Errorf("download package: %w", err)
	}
	clean = func() { os.RemoveAll(dir) }
	args := []string{"-q", "download"}
	var size int64
	for _, p := range pkgs {
		args = append(args, p.Name+"="+p.Version)
		size += p.Size
	}
	task := progress.From(ctx).Task("download "+pkgs[0].Name, size)
	_, err = a.run(ctx, dir, "apt-get", args...)
	if err == nil {
		task.Add(size)
	}
	task.Done(err)
	if err == nil {
		files, err = filepath.Glob(filepath.Join(dir, "*.deb"))
	}
	if err == nil && len(files) != len(pkgs) {
		err = fmt.Errorf("apt-get fetched %d of %d packages", len(files), len(pkgs))
	}
	if err != nil {
		clean()
		if strings.Contains(err.Error(), "404  Not Found") { // the lists are older than the pool
			return nil, nil, &NotFoundError{fmt.Sprintf("deb:%s=%s@%s", pkgs[0].Name, pkgs[0].Version, a.spec.suite), "the suite lists it, but the mirror no longer has it: " + err.Error()}
		}
		return nil, nil, fmt.Errorf("download %s: %w", pkgs[0].Name, err)
	}
	return files, clean, nil
}

// lockDir makes the state directory and holds it for this process: apt-get
// gives up at once where another one is at work.
func lockDir(ctx context.Context, dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("prepare apt: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("prepare apt: %w", err)
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", dir, err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("wait for another unwedge at %s: %w", dir, context.Cause(ctx))
		case <-time.After(100 * time.Millisecond):
		}
	}
}
