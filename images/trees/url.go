package trees

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

var scpRE = regexp.MustCompile(`^[A-Za-z0-9._-]+@[A-Za-z0-9.-]+:[^:\s[:cntrl:]]+$`)

// transports are the ways to fetch that start no program of the URL's choice.
var transports = []string{"https", "http", "git", "ssh", "file"}

func checkURL(s string) error {
	if s == "" {
		return errors.New("it has no url")
	}
	u, err := url.Parse(s)
	switch {
	case scpRE.MatchString(s):
		return nil
	case err != nil || strings.ContainsAny(s, " \t\n") || !slices.Contains(transports, u.Scheme):
	case u.Scheme != "file" && u.Host != "":
		return nil
	case u.Scheme == "file" && u.Host == "" && strings.HasPrefix(u.Path, "/"):
		return nil
	case u.Scheme == "file":
		return fmt.Errorf("url %q: a file's path starts at the root: file:///path", s)
	}
	return fmt.Errorf("url %q: want %s:///path, or user@host:path", refusedURL(s), strings.Join(transports, "://, "))
}

var schemeRE = regexp.MustCompile(`^[a-z]+://`)

// refusedURL is a URL that is none as it may be shown: what makes it none may be a
// character of a password, so that all before its last @ is hidden where
// withoutLogin finds no login.
func refusedURL(s string) string {
	at := strings.LastIndexByte(s, '@')
	if shown := withoutLogin(s); at < 0 || shown != s && strings.Count(shown, "@") == 1 {
		return shown
	}
	scheme := schemeRE.FindString(s[:at])
	return scheme + hidden + s[at:]
}

// loginRE is the login in a URL.
var loginRE = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]*://)([^/@\s]*(?:@[^/@\s]*)*)@`)

// hidden stands for a secret.
const hidden = "***"

// ShownURL is the URL as it may be shown and logged: without a password, and over
// http without a user either, where that is often a token.
func (t Tree) ShownURL() string { return withoutLogin(t.URL) }

func withoutLogin(s string) string {
	m := loginRE.FindStringSubmatch(s)
	if m == nil {
		return s
	}
	shown := hidden
	if user, _, secret := strings.Cut(m[2], ":"); !strings.HasPrefix(strings.ToLower(m[1]), "http") {
		shown = user
		if secret {
			shown += ":" + hidden
		}
	}
	return m[1] + shown + "@" + s[len(m[0]):]
}

// conceal takes a tree's login out of what git said.
func conceal(t Tree, said string) string {
	said = strings.ReplaceAll(said, t.URL, t.ShownURL())
	m := loginRE.FindStringSubmatch(t.URL)
	if m == nil {
		return said
	}
	if _, secret, ok := strings.Cut(m[2], ":"); ok && secret != "" {
		said = strings.ReplaceAll(said, secret, hidden)
	}
	return said
}
