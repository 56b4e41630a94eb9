package candidate

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// coreSuffix ends the names of Fedora's and RHEL's packages with a kernel and no
// modules: kernel-core, kernel-debug-core.
const coreSuffix = "-core"

// rpmModules are the packages with the modules of a kernel-core, by what follows
// "kernel". Until Fedora 37 there is no modules-core.
var rpmModules = []string{"-modules-core", "-modules", "-modules-extra"}

// rpmName reads a package's name and its version with the release from its lead, the
// 66 bytes at 10 (RPM's "Package format" document).
func rpmName(path string) (name, version string, err error) {
	var lead [rpmLead]byte
	if err := readHead(path, lead[:]); err != nil {
		return "", "", fmt.Errorf("open package: %w", err)
	}
	full, _, _ := bytes.Cut(lead[10:76], []byte{0})
	name, version, ok := splitRPMName(string(full))
	if !bytes.HasPrefix(lead[:], []byte(rpmMagic)) || !ok {
		return "", "", &PackageError{Path: path, Reason: "its lead names no package and version"}
	}
	return name, version, nil
}

// splitRPMName splits NAME-VERSION-RELEASE.
func splitRPMName(s string) (name, version string, ok bool) {
	i := strings.LastIndexByte(s, '-')
	if i <= 0 {
		return "", "", false
	}
	j := strings.LastIndexByte(s[:i], '-')
	if j <= 0 {
		return "", "", false
	}
	return s[:j], s[j+1:], true
}

// withRPMParts finds the packages beside a kernel-core that hold its modules, named
// as the archives name files.
func withRPMParts(path string) parts {
	out := parts{files: []string{path}}
	name, version, err := rpmName(path)
	base, isCore := strings.CutSuffix(name, coreSuffix)
	rest, named := strings.CutPrefix(filepath.Base(path), name)
	if err != nil || !isCore || !named || strings.Contains(base, "-modules") {
		return out
	}
	for _, suffix := range rpmModules {
		part := filepath.Join(filepath.Dir(path), base+suffix+rest)
		if st, err := os.Stat(part); err != nil || !st.Mode().IsRegular() {
			continue
		}
		if n, v, err := rpmName(part); err == nil && n == base+suffix && v == version {
			out.files = append(out.files, part)
		}
	}
	return out
}

// lackingRPM names the package with the modules of a kernel-core that came without
// any; nothing for another package.
func lackingRPM(path string, c *Candidate) []string {
	name, _, err := rpmName(path)
	base, isCore := strings.CutSuffix(name, coreSuffix)
	if err != nil || !isCore || c.ModulesDir != "" {
		return nil
	}
	return []string{base + rpmModules[0]}
}
