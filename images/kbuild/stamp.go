package kbuild

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/unwedge/unwedge/images/kbuild/toolchain"
)

// Configuring again costs seconds in each build, and makes make check everything that
// depends on .config. So a successful build leaves a stamp: a digest of everything that
// decided its configuration. While the digest stays the same, .config is kept.
//
// What decides it: how make is called and in what environment; what the
// configuration begins with, and the fragments; the Kconfig files, the scripts and
// makefiles that read them or are run by them, and the files with the defaults; and
// this host's programs, which Kconfig tries. A tree whose configuration depends on
// more than files gets no stamp.

// stampName is the file in Output.
const stampName = ".unwedge-configured"

// stamp is what it holds.
type stamp struct {
	// Kconfig are the files of the tree that the configuration was read from.
	Kconfig []string
	// Inputs is the digest of everything that decides the configuration, Config that
	// of the result.
	Inputs, Config string
}

// configured says whether the .config in Output is what configuring would make.
func (m *maker) configured() bool {
	b, err := os.ReadFile(filepath.Join(m.spec.Output, stampName))
	if err != nil {
		return false
	}
	var s stamp
	if json.Unmarshal(b, &s) != nil || len(s.Kconfig) == 0 {
		return false
	}
	config, err := digestFile(filepath.Join(m.spec.Output, ".config"))
	if err != nil || config != s.Config {
		return false
	}
	inputs, err := m.inputs(s.Kconfig, time.Now())
	return err == nil && inputs == s.Inputs
}

// unstamp is called before a configuration is changed.
func (m *maker) unstamp() error {
	err := os.Remove(filepath.Join(m.spec.Output, stampName))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// leaveStamp is called when a build has ended well that was configured at a time:
// then make has found auto.conf.cmd, which lists the Kconfig files, to be current.
// Whatever is in the way leaves no stamp, and the next build configures.
func (m *maker) leaveStamp(configured time.Time) {
	var s stamp
	var err error
	if s.Kconfig, err = kconfigFiles(m.spec.Output); err != nil || len(s.Kconfig) == 0 {
		return
	}
	if s.Inputs, err = m.inputs(s.Kconfig, configured); err != nil {
		return
	}
	if s.Config, err = digestFile(filepath.Join(m.spec.Output, ".config")); err != nil {
		return
	}
	if b, err := json.Marshal(s); err == nil {
		_ = os.WriteFile(filepath.Join(m.spec.Output, stampName), b, 0o644)
	}
}

// kconfigFiles are the tree's files that Kconfig's own list names, relative to the
// source (conf_write_autoconf_cmd in scripts/kconfig/confdata.c).
func kconfigFiles(output string) ([]string, error) {
	f, err := os.Open(filepath.Join(output, "include/config/auto.conf.cmd"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var out []string
	listed := false
	for sc := bufio.NewScanner(io.LimitReader(f, maxKconfig)); sc.Scan(); {
		line := sc.Text()
		if strings.HasPrefix(line, "deps_config :=") {
			listed = strings.HasSuffix(line, `\`)
			continue
		}
		if !listed {
			continue
		}
		name := strings.TrimSpace(strings.TrimSuffix(line, `\`))
		if name == "" { // the last one is followed by a backslash too
			break
		}
		if !filepath.IsLocal(name) || len(out) == maxKconfigs {
			return nil, fmt.Errorf("list of Kconfig files: %q", name)
		}
		out = append(out, name)
		listed = strings.HasSuffix(line, `\`)
	}
	slices.Sort(out)
	return out, nil
}

// inputs is the digest of everything that decides the configuration, with files as
// they were before a time. The error says what is not in files, or is newer.
func (m *maker) inputs(kconfig []string, before time.Time) (string, error) {
	s := m.spec
	settings, err := json.Marshal(s.Fragments)
	if err != nil {
		return "", err
	}
	always, err := embedded(reproducible, s.Arch)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintf(h, "1\x00%q\x00%q\x00%q\x00%s\x00%v\x00", m.args(nil), m.environ(), s.base(), settings, always)
	hashHost(h, m.tools)
	if !isTarget(s.base()) {
		if err := hashFile(h, s.base()); err != nil {
			return "", err
		}
	}
	files, err := s.deciding(kconfig)
	if err != nil {
		return "", err
	}
	for _, name := range files {
		path := filepath.Join(s.Source, name)
		if st, err := os.Stat(path); err != nil || st.ModTime().After(before) {
			return "", errors.Join(err, fmt.Errorf("%s has been changed", path))
		}
		fmt.Fprintf(h, "%s\x00", name)
		if err := hashFile(h, path); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// deciding are patterns of the files that decide a configuration beside the Kconfig
// files: what make reads and runs to configure, and the defaults. %s is the
// architecture's folder.
var deciding = []string{
	"Makefile", "arch/%s/Makefile*", "arch/%s/configs/*", "kernel/configs/*",
	"scripts/*", "scripts/kconfig/*", "scripts/include/*", "scripts/basic/*",
}

// treeRefRE is a file of the tree that a Kconfig file asks a program about.
var treeRefRE = regexp.MustCompile(`\$\((?:srctree|src|objtree|abs_srctree|abs_objtree)\)(/[^ ,)"'\s]*)?`)

// deciding lists the files of the tree that decide the configuration, relative to it.
func (s Spec) deciding(kconfig []string) ([]string, error) {
	files := slices.Clone(kconfig)
	folder := strings.Split(s.Arch.Facts().BootImages[0], "/")[1]
	for _, pattern := range deciding {
		found, err := filepath.Glob(filepath.Join(s.Source, strings.ReplaceAll(pattern, "%s", folder)))
		if err != nil {
			return nil, err
		}
		for _, path := range found {
			if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() {
				rel, err := filepath.Rel(s.Source, path)
				if err != nil {
					return nil, err
				}
				files = append(files, rel)
			}
		}
	}
	for _, name := range kconfig {
		text, err := os.ReadFile(filepath.Join(s.Source, name))
		if err != nil {
			return nil, err
		}
		for _, m := range treeRefRE.FindAllSubmatch(text, -1) {
			ref := strings.TrimPrefix(string(m[1]), "/")
			if st, err := os.Stat(filepath.Join(s.Source, ref)); err != nil || !st.Mode().IsRegular() || !filepath.IsLocal(ref) {
				return nil, fmt.Errorf("%s asks of the tree: %s", name, m[0])
			}
			files = append(files, ref)
		}
	}
	slices.Sort(files)
	return slices.Compact(files), nil
}

// databases of package managers: they change when anything is installed.
var databases = []string{"/var/lib/dpkg/status", "/var/lib/rpm/rpmdb.sqlite", "/usr/lib/sysimage/rpm/rpmdb.sqlite", "/var/lib/pacman/local"}

// hashHost adds this host's programs and libraries, as far as their files and the
// package manager's database show a change.
func hashHost(h io.Writer, t toolchain.Tools) {
	paths := slices.Clone(databases)
	for _, name := range t.Programs() {
		path, err := exec.LookPath(name)
		if err != nil {
			path = name
		}
		paths = append(paths, physical(path))
	}
	for _, path := range paths {
		if st, err := os.Stat(path); err == nil {
			fmt.Fprintf(h, "%s\x00%d\x00%d\x00", path, st.Size(), st.ModTime().UnixNano())
		} else {
			fmt.Fprintf(h, "%s\x00-\x00", path)
		}
	}
}

func hashFile(h io.Writer, path string) error {
	sum, err := digestFile(path)
	fmt.Fprintf(h, "%s\x00", sum)
	return err
}

func digestFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), err
}
