package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/deb"
	"github.com/goreleaser/nfpm/v2/files"
	_ "github.com/goreleaser/nfpm/v2/rpm"

	"github.com/unwedge/unwedge/scenarios/arch"
)

// format is a kind of package.
type format struct {
	name string
	// of is the package that this format calls by one of several names, others are
	// what else unwedge uses: what `unwedge doctor` looks for.
	of     func(arch.Packages) string
	others []string
}

func formats() []format {
	return []format{
		{"deb", func(p arch.Packages) string { return p.APT }, []string{
			"e2fsprogs", "mount", "debian-archive-keyring",
		}},
		{"rpm", func(p arch.Packages) string { return p.DNF }, []string{"e2fsprogs", "util-linux-core", "dpkg", "debian-keyring"}},
	}
}

// target is a host that unwedge runs on.
type target struct {
	goarch string
	guest  arch.Arch // that it boots without emulation
}

func targets() []target {
	var out []target
	for _, a := range arch.All() {
		out = append(out, target{a.Facts().GOARCH, a})
	}
	return out
}

// pack writes one package. QEMU for the host's own architecture is a dependency,
// everything else is recommended: booting the built-in initramfs needs no more.
func (t target) pack(f format, dir string, extras files.Contents, version string, at time.Time) (err error) {
	recommends := f.others
	for _, a := range arch.All() {
		recommends = append(recommends, f.of(a.Facts().UEFIPackages))
		if a != t.guest {
			recommends = append(recommends, f.of(a.Facts().QEMUPackages))
		}
	}
	info := nfpm.WithDefaults(&nfpm.Info{
		Name: "unwedge", Arch: t.goarch, Platform: "linux", Version: packageVersion(version, at), VersionSchema: "none",
		Section: "devel", Priority: "optional", Maintainer: "The unwedge developers <unwedge@example.org>",
		Description: "boot Linux kernels in QEMU, and report where and why a boot hangs\n" +
			"unwedge boots candidate kernels on x86_64 and aarch64. When a boot stops\nmaking progress it names the task, the wait chain, the kernel function,\nthe cause and the remedy.",
		Homepage: "https://github.com/unwedge/unwedge", License: "see /usr/share/doc/unwedge/copyright",
		MTime: at,
		Overridables: nfpm.Overridables{
			Depends:    []string{f.of(t.guest.Facts().QEMUPackages)},
			Recommends: recommends,
			Contents: append(files.Contents{{
				Source: filepath.Join(dir, "unwedge-linux-"+t.goarch), Destination: "/usr/bin/unwedge",
				FileInfo: &files.ContentFileInfo{Mode: 0o755, MTime: at},
			}}, extras...),
			RPM: nfpm.RPM{BuildHost: "localhost"},
		},
	})
	packager, err := nfpm.Get(f.name)
	if err != nil {
		return err
	}
	info.Target = filepath.Join(dir, packager.ConventionalFileName(info))
	if err := nfpm.PrepareForPackager(info, f.name); err != nil {
		return err
	}
	w, err := os.Create(info.Target)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	return packager.Package(info, w)
}

var tagged = regexp.MustCompile(`^v?([0-9]+\.[0-9]+.*)$`)

// packageVersion is a version that dpkg and rpm order by time: a tag as it is, with
// the commits since; a commit before the first tag by its date.
func packageVersion(version string, at time.Time) string {
	if m := tagged.FindStringSubmatch(version); m != nil {
		return strings.ReplaceAll(m[1], "-", "+")
	}
	return fmt.Sprintf("0.0~git%s.%s", at.Format("20060102"), strings.ReplaceAll(version, "-", "+"))
}
