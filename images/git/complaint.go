package git

import (
	"regexp"
	"slices"
	"strings"
)

// besides start lines that report what followed from a failure, or no failure.
var besides = []string{
	"Could not read from remote", "fetch-pack: ", "index-pack failed", "early EOF", "some local refs could not be updated",
	"does not point to a valid object", "object directory ",
}

// complaint picks git's first line that says what failed, and what the server said;
// the first line of all where none is marked as a failure.
func complaint(text string) string {
	var first, other, remote, any string
	for line := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == '\n' || r == '\r' }) {
		if any == "" && !strings.HasPrefix(line, "remote: ") && !strings.Contains(line, "%") { // no server's word, and no progress
			any = strings.TrimSpace(line)
		}
		for _, prefix := range []string{"fatal: ", "error: ", "ssh: "} {
			if rest, ok := strings.CutPrefix(line, prefix); ok {
				rest = strings.TrimSpace(accessRE.ReplaceAllString(rest, ""))
				if slices.ContainsFunc(besides, func(s string) bool { return strings.HasPrefix(rest, s) || strings.Contains(rest, " "+s) }) {
					other = rest
				} else if first == "" {
					first = rest
				}
			}
		}
		if loginLineRE.MatchString(line) && first == "" {
			first = strings.TrimSpace(line)
		}
		if rest, ok := strings.CutPrefix(line, "remote: "); ok && !strings.Contains(rest, "objects") && !strings.HasPrefix(rest, "Total ") {
			remote = strings.TrimSpace(rest)
		}
	}
	if first == "" {
		first = other
	}
	if remote != "" && first != "" && !strings.Contains(first, remote) {
		first += " (" + remote + ")"
	}
	if first == "" {
		first = any
	}
	return clean(loginRE.ReplaceAllString(first, "$1***@"))
}

var (
	// loginLineRE is what ssh prints without its name.
	loginLineRE = regexp.MustCompile(`^(\S+: Permission denied \(|Host key verification failed)`)
	// accessRE precedes the reason; the reader knows the URL.
	accessRE = regexp.MustCompile(`^unable to access '[^']*': `)
	// loginRE is the login in a URL that may hold a password or a token.
	loginRE = regexp.MustCompile(`\b((?i:https?)://|[A-Za-z][A-Za-z0-9+.-]*://[^:/@\s']+:)[^/\s']*@`)
)

// clean makes a server's words fit for a terminal and one line.
func clean(s string) string {
	const most = 400
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return -1
		}
		return r
	}, s)
	return strings.ToValidUTF8(s[:min(len(s), most)], "")
}
