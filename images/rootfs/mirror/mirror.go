// Package mirror finds the Debian archive that the host's own apt sources name.
package mirror

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
)

// ErrNone says that the host's apt sources name no Debian archive.
var ErrNone = errors.New("the host's apt sources name no Debian archive: set " + Env + " to a mirror's address")

// Env is the environment variable that names the archive and overrides the
// host's apt sources.
const Env = "UNWEDGE_DEBIAN_MIRROR"

// Host returns the archive for a suite: $UNWEDGE_DEBIAN_MIRROR, else what the
// apt sources of this host name.
func Host(suite string) (string, error) {
	if uri := os.Getenv(Env); uri != "" {
		return uri, nil
	}
	return Find(os.DirFS("/etc/apt"), suite)
}

// source is one archive address with its suites.
type source struct {
	uri        string
	suites     []string
	components []string
}

// Find reads sources.list and sources.list.d below etc, which is /etc/apt, in
// both formats (sources.list(5)). An archive that serves the very suite is
// preferred, then the first that serves any suite of Debian itself: a Debian
// mirror holds them all. Security and update archives do not.
func Find(etc fs.FS, suite string) (string, error) {
	var all []source
	names := []string{"sources.list"}
	if entries, err := fs.ReadDir(etc, "sources.list.d"); err == nil {
		for _, e := range entries {
			names = append(names, path.Join("sources.list.d", e.Name()))
		}
	}
	for _, name := range names {
		f, err := etc.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("read apt sources: %w", err)
		}
		switch path.Ext(name) {
		case ".list":
			all = append(all, oneLine(bufio.NewScanner(f))...)
		case ".sources":
			all = append(all, deb822(bufio.NewScanner(f))...)
		}
		f.Close()
	}
	for _, want := range [][]string{{suite}, debianSuites()} {
		for _, s := range all {
			if !usable(s) {
				continue
			}
			for _, have := range s.suites {
				if slices.Contains(want, have) {
					return s.uri, nil
				}
			}
		}
	}
	return "", ErrNone
}

func debianSuites() []string {
	return []string{
		"bullseye", "bookworm", "trixie", "forky", "duke", "sid",
		"oldoldstable", "oldstable", "stable", "testing", "unstable",
	}
}

// usable says whether the source is an archive over the network with Debian's
// main component.
func usable(s source) bool {
	u, err := url.Parse(s.uri)
	return err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https") &&
		slices.Contains(s.components, "main")
}

// oneLine reads the "deb [options] URI SUITE COMPONENT..." format.
func oneLine(in *bufio.Scanner) []source {
	var out []source
	for in.Scan() {
		line, _, _ := strings.Cut(in.Text(), "#")
		if before, rest, ok := strings.Cut(line, "["); ok {
			_, after, closed := strings.Cut(rest, "]")
			if !closed {
				continue
			}
			line = before + " " + after
		}
		f := strings.Fields(line)
		if len(f) >= 4 && f[0] == "deb" {
			out = append(out, source{f[1], f[2:3], f[3:]})
		}
	}
	return out
}

// deb822 reads stanzas of "Field: value" lines.
func deb822(in *bufio.Scanner) []source {
	var out []source
	fields := map[string]string{}
	flush := func() {
		if slices.Contains(strings.Fields(fields["types"]), "deb") && !strings.EqualFold(fields["enabled"], "no") {
			for _, uri := range strings.Fields(fields["uris"]) {
				out = append(out, source{uri, strings.Fields(fields["suites"]), strings.Fields(fields["components"])})
			}
		}
		clear(fields)
	}
	last := ""
	for in.Scan() {
		line := in.Text()
		switch {
		case strings.HasPrefix(line, "#"):
		case strings.TrimSpace(line) == "":
			flush()
		case line[0] == ' ' || line[0] == '\t':
			fields[last] += " " + strings.TrimSpace(line)
		default:
			name, value, _ := strings.Cut(line, ":")
			last = strings.ToLower(strings.TrimSpace(name))
			fields[last] = strings.TrimSpace(value)
		}
	}
	flush()
	return out
}
