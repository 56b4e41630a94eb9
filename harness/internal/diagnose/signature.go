package diagnose

import (
	"slices"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/result"
)

// maxSignature bounds a signature, in bytes.
const maxSignature = 160

// signature makes the Signature of a Diagnosis. A crash or a spin is identified by
// its function, because architectures name the same trap differently; everything
// else by the title.
func signature(d *result.Diagnosis) string {
	subject := d.Title
	switch d.Cause {
	case result.CauseOops, result.CauseSoftLockup, result.CauseHardLockup, result.CauseRCUStall, result.CauseSpin:
		if d.Function != "" {
			subject = dump.PlainName(d.Function)
		}
	}
	subject = strings.TrimPrefix(subject, string(d.Kind)+": ")
	s := slug(string(d.Kind)) + "/" + slug(string(d.Cause))
	if sub := slug(subject); sub != "" && sub != slug(string(d.Cause)) {
		s += "/" + sub
	}
	return strings.TrimRight(s[:min(len(s), maxSignature)], "-.")
}

// IsSignature says whether s can be a Signature: it begins with a kind and a slash.
func IsSignature(s string) bool {
	kind, cause, ok := strings.Cut(s, "/")
	return ok && cause != "" && slices.Contains(result.Kinds, result.Kind(kind))
}

// slug keeps what is safe in a file name and turns the rest into dashes.
func slug(s string) string {
	var b strings.Builder
	dash := true // none at the start, none doubled
	for i := 0; i < len(s); i++ {
		c := s[i]
		word := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
		switch {
		case word, c == '.' && !dash:
			b.WriteByte(c)
			dash = c == '.'
		case !dash:
			b.WriteByte('-')
			dash = true
		}
	}
	return strings.TrimRight(b.String(), "-.")
}
