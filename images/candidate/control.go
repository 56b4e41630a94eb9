package candidate

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

const (
	maxControlTar = 16 << 20 // bytes, packed or not; a kernel's has some 400 KB of checksums
	maxControl    = 1 << 20
)

// readControl reads what a Debian binary package says of itself: control.tar
// comes before data.tar, deb(5).
func readControl(ctx context.Context, file string) (debPackage, string, error) {
	fail := func(reason string, err error) (debPackage, string, error) {
		return debPackage{}, "", &PackageError{Path: file, Reason: reason, Err: err}
	}
	f, err := os.Open(file)
	if err != nil {
		return debPackage{}, "", fmt.Errorf("open package: %w", err)
	}
	defer f.Close()
	r := bufio.NewReader(f)
	magic := make([]byte, len(arMagic))
	if _, err := io.ReadFull(r, magic); err != nil || string(magic) != arMagic {
		return fail("not a Debian package: no ar magic", err)
	}
	for {
		name, size, err := arMember(r)
		if err != nil {
			return fail("not a Debian package, or a truncated one: no control.tar in it", err)
		}
		if strings.HasPrefix(name, "control.tar") {
			if size > maxControlTar {
				return fail(fmt.Sprintf("its control.tar has %d bytes, more than %d", size, maxControlTar), nil)
			}
			text, err := controlFile(ctx, io.LimitReader(r, size))
			if err != nil {
				return fail("its control file cannot be read: "+err.Error(), err)
			}
			p, arch, err := parseControl(text)
			if err != nil {
				return fail(err.Error(), nil)
			}
			return p, arch, nil
		}
		if _, err := io.CopyN(io.Discard, r, size+size%2); err != nil {
			return fail("truncated", err)
		}
	}
}

func controlFile(ctx context.Context, r io.Reader) (string, error) {
	z, err := decompress(ctx, r)
	if err != nil {
		return "", err
	}
	defer z.Close()
	t := tar.NewReader(io.LimitReader(z, maxControlTar))
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return "", errors.New("there is none")
		}
		if err != nil {
			return "", err
		}
		if path.Clean(h.Name) == "control" {
			b, err := io.ReadAll(io.LimitReader(t, maxControl))
			return string(b), err
		}
	}
}

// parseControl reads a control file's one stanza.
func parseControl(text string) (p debPackage, arch string, err error) {
	stanzas := parseStanzas(strings.TrimSpace(text))
	if len(stanzas) != 1 || !versionRE.MatchString(stanzas[0].Version) || !packageRE.MatchString(stanzas[0].Name) {
		return p, "", errors.New("its control file names no package and version")
	}
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(line, "Architecture:"); ok {
			arch = strings.TrimSpace(v)
		}
	}
	return stanzas[0], arch, nil
}

// parts are the files that hold one kernel.
type parts struct {
	files []string // the package itself first
	lacks []string // packages with its modules or configuration that are not there
	gone  []string // files with the rest of it that are not there
}

// withParts finds the packages beside a Debian package that hold the other parts
// of its kernel, as `apt-get download` names files. A file whose control cannot
// be read stands alone: unpacking it will show what is wrong.
func withParts(ctx context.Context, file string) parts {
	out := parts{files: []string{file}}
	p, arch, err := readControl(ctx, file)
	if err != nil {
		return out
	}
	seen := map[string]bool{p.Name: true}
	const maxParts = 32
	for todo := kernelDepends(p.Depends); len(todo) > 0 && len(seen) < maxParts; todo = todo[1:] {
		d := todo[0]
		if seen[d.name] || isMeta(d.name) {
			continue
		}
		seen[d.name] = true
		name := fmt.Sprintf("%s_%s_%s.deb", d.name, strings.ReplaceAll(d.version, ":", "%3a"), arch)
		part := filepath.Join(filepath.Dir(file), filepath.Base(name))
		q, _, err := readControl(ctx, part)
		switch {
		case err == nil && q.Name == d.name && q.Version == d.version:
			out.files = append(out.files, part)
			todo = append(todo, kernelDepends(q.Depends)...)
		case dispensable(d.name):
			out.lacks = append(out.lacks, d.name)
		default:
			out.gone = append(out.gone, name)
		}
	}
	slices.Sort(out.lacks)
	return out
}
