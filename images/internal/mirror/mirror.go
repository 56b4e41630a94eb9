// Package mirror finds the Debian archive: the user's choice, or what the host's
// own apt sources name.
package mirror

import (
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Env names the environment variable with the Debian mirror's URI.
const Env = "UNWEDGE_DEBIAN_MIRROR"

// AptSources is where the host's apt sources are.
const AptSources = "/etc/apt"

// ErrNone says that no Debian mirror is known.
var ErrNone = errors.New("no Debian mirror is known: the host's apt sources name none: set --mirror or " + Env + " to its URI")

// Find returns the mirror for a suite: the chosen one, else the environment's,
// else the first fitting one in the apt sources below etc, which is AptSources
// but in tests. The path of a Debian mirror ends in /debian, that of its
// security archive in /debian-security.
func Find(chosen, suite, etc string) (string, error) {
	want := "/debian"
	if strings.HasSuffix(suite, "-security") {
		want = "/debian-security"
	}
	for _, m := range []string{chosen, os.Getenv(Env)} {
		if m == "" {
			continue
		}
		m = strings.TrimRight(m, "/")
		if err := check(m); err != nil {
			return "", err
		}
		if rest, ok := strings.CutSuffix(m, "/debian"); ok {
			return rest + want, nil
		}
		return m, nil
	}
	for _, uri := range hostURIs(etc) {
		uri = strings.TrimRight(uri, "/")
		if strings.HasSuffix(uri, want) && check(uri) == nil {
			return uri, nil
		}
	}
	return "", ErrNone
}

// check keeps what is written into sources.list to one plain URI.
func check(m string) error {
	u, err := url.Parse(m)
	if err != nil || !slices.Contains([]string{"http", "https", "file", "copy"}, u.Scheme) || strings.ContainsAny(m, " \t\n[]\"") {
		return errors.New("apt cannot use the Debian mirror " + m)
	}
	return nil
}

// hostURIs lists the URIs in sources.list, and in *.list and *.sources of
// sources.list.d, in apt's order; sources.list(5).
func hostURIs(dir string) []string {
	files := []string{filepath.Join(dir, "sources.list")}
	more, _ := filepath.Glob(filepath.Join(dir, "sources.list.d", "*")) // the pattern is constant
	var uris []string
	for _, path := range append(files, more...) {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // as unreadable as missing: the caller says that none was found
		}
		switch filepath.Ext(path) {
		case ".list":
			uris = append(uris, oneLineURIs(string(b))...)
		case ".sources":
			uris = append(uris, deb822URIs(string(b))...)
		}
	}
	return uris
}

func oneLineURIs(text string) []string {
	var uris []string
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "deb ")
		if !ok {
			continue
		}
		rest = strings.TrimSpace(rest)
		if strings.HasPrefix(rest, "[") {
			_, rest, _ = strings.Cut(rest, "]")
		}
		if f := strings.Fields(rest); len(f) > 0 {
			uris = append(uris, f[0])
		}
	}
	return uris
}

func deb822URIs(text string) []string {
	var uris []string
	for stanza := range strings.SplitSeq(text, "\n\n") {
		fields := map[string]string{}
		last := ""
		for line := range strings.Lines(stanza) {
			if strings.HasPrefix(line, "#") {
				continue
			}
			if strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t") {
				fields[last] += " " + line
				continue
			}
			if name, value, ok := strings.Cut(line, ":"); ok {
				last = strings.ToLower(strings.TrimSpace(name))
				fields[last] = value
			}
		}
		enabled := strings.ToLower(strings.TrimSpace(fields["enabled"]))
		if slices.Contains(strings.Fields(fields["types"]), "deb") && enabled != "no" {
			uris = append(uris, strings.Fields(fields["uris"])...)
		}
	}
	return uris
}
