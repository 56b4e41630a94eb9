package candidate

import (
	"cmp"
	"regexp"
	"strconv"
	"strings"
)

// Kernel packages of the Debian archive. Until 6.18 linux-image-RELEASE holds
// the kernel and its modules. Later ones are empty and depend on
// linux-binary-RELEASE (vmlinuz), linux-modules-RELEASE and
// linux-base-RELEASE (config, System.map, modules.builtin). A metapackage's
// name has no release in it: linux-image-amd64, linux-modules-cloud-arm64.
var kernelPackageRE = regexp.MustCompile(`^linux-(image|binary|modules|base)-.+$`)

func isImage(name string) bool {
	return strings.HasPrefix(name, "linux-image-") &&
		!strings.HasSuffix(name, "-dbg") && !strings.HasSuffix(name, unsignedSuffix) && !strings.HasSuffix(name, "-template")
}

// unsignedSuffix ends the names of the packages that Debian's signed ones are made
// from, which are all that a local build makes.
const unsignedSuffix = "-unsigned"

func isMeta(name string) bool {
	m := kernelPackageRE.FindStringSubmatch(name)
	if m == nil {
		return false
	}
	rest := strings.TrimPrefix(name, "linux-"+m[1]+"-")
	return rest[0] < '0' || rest[0] > '9' || !strings.Contains(firstPart(rest), ".")
}

func firstPart(s string) string {
	p, _, _ := strings.Cut(s, "-")
	return p
}

// dispensable says whether a kernel can be booted without this package. The
// archive drops the modules and configurations of superseded versions, which
// are built from the source package linux, before their kernels, which come
// from linux-signed-amd64.
func dispensable(name string) bool {
	return strings.HasPrefix(name, "linux-modules-") || strings.HasPrefix(name, "linux-base-")
}

type dependency struct{ name, version string }

var dependRE = regexp.MustCompile(`^\s*([a-z0-9][a-z0-9+.-]+)(?::\w+)?\s*(?:\(=\s*([^)\s]+)\s*\))?\s*$`)

// kernelDepends picks the kernel's own packages out of a Depends field: those
// wanted in exactly one version and without an alternative.
func kernelDepends(field string) []dependency {
	var out []dependency
	for part := range strings.SplitSeq(field, ",") {
		m := dependRE.FindStringSubmatch(part)
		if m != nil && m[2] != "" && kernelPackageRE.MatchString(m[1]) {
			out = append(out, dependency{m[1], m[2]})
		}
	}
	return out
}

// parseStanzas reads the fields of deb822 stanzas that resolving needs.
func parseStanzas(text string) []debPackage {
	var out []debPackage
	for stanza := range strings.SplitSeq(text, "\n\n") {
		var p debPackage
		for line := range strings.SplitSeq(stanza, "\n") {
			name, value, ok := strings.Cut(line, ":")
			if !ok || strings.HasPrefix(line, " ") {
				continue
			}
			value = strings.TrimSpace(value)
			switch name {
			case "Package":
				p.Name = value
			case "Version":
				p.Version = value
			case "Depends":
				p.Depends = value
			case "SHA256":
				p.SHA256 = value
			case "Size":
				p.Size, _ = strconv.ParseInt(value, 10, 64) // only shown
			}
		}
		if p.Name != "" {
			out = append(out, p)
		}
	}
	return out
}

// compareVersions orders Debian versions as deb-version(7) says.
func compareVersions(a, b string) int {
	ea, ra := splitEpoch(a)
	eb, rb := splitEpoch(b)
	if c := cmp.Compare(ea, eb); c != 0 {
		return c
	}
	ua, da := splitRevision(ra)
	ub, db := splitRevision(rb)
	if c := comparePart(ua, ub); c != 0 {
		return c
	}
	return comparePart(da, db)
}

func splitEpoch(v string) (int, string) {
	if e, rest, ok := strings.Cut(v, ":"); ok {
		n, _ := strconv.Atoi(e)
		return n, rest
	}
	return 0, v
}

func splitRevision(v string) (string, string) {
	if i := strings.LastIndexByte(v, '-'); i >= 0 {
		return v[:i], v[i+1:]
	}
	return v, ""
}

func comparePart(a, b string) int {
	for a != "" || b != "" {
		na, nb := digitsFrom(a), digitsFrom(b)
		if c := compareText(a[:na], b[:nb]); c != 0 {
			return c
		}
		a, b = a[na:], b[nb:]
		na, nb = textFrom(a), textFrom(b)
		da, db := strings.TrimLeft(a[:na], "0"), strings.TrimLeft(b[:nb], "0")
		if c := cmp.Or(cmp.Compare(len(da), len(db)), cmp.Compare(da, db)); c != 0 {
			return c
		}
		a, b = a[na:], b[nb:]
	}
	return 0
}

func isDigit(r rune) bool { return r >= '0' && r <= '9' }

func digitsFrom(s string) int { return indexOr(s, isDigit) }

func textFrom(s string) int { return indexOr(s, func(r rune) bool { return !isDigit(r) }) }

func indexOr(s string, f func(rune) bool) int {
	if i := strings.IndexFunc(s, f); i >= 0 {
		return i
	}
	return len(s)
}

// compareText: '~' sorts before the end, letters before everything else.
func compareText(a, b string) int {
	order := func(s string, i int) int {
		switch {
		case i >= len(s):
			return 0
		case s[i] == '~':
			return -1
		case s[i]|0x20 >= 'a' && s[i]|0x20 <= 'z':
			return int(s[i])
		}
		return int(s[i]) + 256
	}
	for i := range max(len(a), len(b)) {
		if c := cmp.Compare(order(a, i), order(b, i)); c != 0 {
			return c
		}
	}
	return 0
}
