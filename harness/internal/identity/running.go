package identity

import (
	"bytes"
	"context"
	"regexp"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/guestmem/physmem"
)

// Running is what a guest's memory says of the kernel that it runs, without any image
// of it.
type Running struct {
	// Banners are the kernels' first lines that are in memory, in the order of their
	// addresses. There may be others than that of the kernel that runs: a file with one
	// is in memory, too.
	Banners []string
	// BuildID is that of the kernel that runs, in lower-case hex, as it left it for
	// crash dumps; "" where it has not, or not yet (kernel/vmcore_info.c, since 5.9).
	BuildID string
	// Release is what it said there of itself, as `uname -r` does.
	Release string
}

// maxBanners bounds Running.Banners.
const maxBanners = 16

// Releases are the releases of all of its kernels, without repetition; that of the one
// that runs for sure comes first.
func (r Running) Releases() []string {
	var out []string
	if r.Release != "" {
		out = append(out, r.Release)
	}
	for _, b := range r.Banners {
		release, _, _ := strings.Cut(strings.TrimPrefix(b, "Linux version "), " ")
		if !slices.Contains(out, release) {
			out = append(out, release)
		}
	}
	return out
}

// Is says whether an image with this banner and build ID may be of the kernel that
// runs.
func (r Running) Is(banner, buildID string) bool {
	if r.BuildID != "" && buildID != "" {
		return r.BuildID == buildID
	}
	return slices.ContainsFunc(r.Banners, func(b string) bool { return same(b, banner) })
}

// buildNumber stands in a banner; an image has one banner without it, too
// (init/version.c, linux_banner before the last link).
var buildNumber = regexp.MustCompile(`\) #[0-9]* `)

// same says whether two banners are of one kernel.
func same(a, b string) bool {
	return buildNumber.ReplaceAllLiteralString(a, ") # ") == buildNumber.ReplaceAllLiteralString(b, ") # ")
}

// String is the kernel that runs, safe to show; "" where nothing was found.
func (r Running) String() string {
	if len(r.Banners) == 0 {
		return ""
	}
	b := r.Banners[0]
	for _, other := range r.Banners {
		if r.Release != "" && strings.HasPrefix(other, "Linux version "+r.Release+" ") {
			b = other
			break
		}
	}
	if r.BuildID != "" {
		return Short(b) + ", build ID " + r.BuildID
	}
	return Short(b)
}

// Find looks through memory for what it says of its kernel. The context bounds the
// search; what was found until its end is returned.
func Find(ctx context.Context, ram physmem.Reader) Running {
	var out Running
	pieces(ctx, ram, func(b []byte) bool {
		for _, banner := range banners(b) {
			if len(out.Banners) < maxBanners && !slices.Contains(out.Banners, banner) {
				out.Banners = append(out.Banners, banner)
			}
		}
		if out.BuildID == "" {
			out.Release, out.BuildID = crashNote(b)
		}
		return out.BuildID != "" && len(out.Banners) > 0
	})
	return out
}

// noteText is how the note begins that a kernel keeps for crash dumps.
var noteText = regexp.MustCompile(`OSRELEASE=([!-~]{1,64})\nBUILD-ID=([0-9a-f]{40})\nPAGESIZE=[0-9]+\n`)

// crashNote finds the note, which begins on a page of its own: without its ELF header
// where the kernel collects it (vmcoreinfo_data), else behind that. Elsewhere may be
// the text of some other kernel's.
func crashNote(b []byte) (release, buildID string) {
	const page, header = 4096, 24
	for at := 0; at+len("OSRELEASE=") < len(b); at += page {
		for _, skip := range []int{0, header} {
			from := at + skip
			if from >= len(b) || !bytes.HasPrefix(b[from:], []byte("OSRELEASE=")) {
				continue
			}
			m := noteText.FindSubmatchIndex(b[from:min(from+maxBanner, len(b))])
			if m != nil && m[0] == 0 {
				return string(b[from+m[2] : from+m[3]]), string(b[from+m[4] : from+m[5]])
			}
		}
	}
	return "", ""
}

// banners finds the banners in b.
func banners(b []byte) []string {
	prefix := []byte("Linux version ")
	var out []string
	for {
		i := bytes.Index(b, prefix)
		if i < 0 {
			return out
		}
		b = b[i:]
		line, _, ok := bytes.Cut(b[:min(len(b), maxBanner)], []byte("\n"))
		if ok && form.Match(line) {
			out = append(out, string(line))
		}
		b = b[len(prefix):]
	}
}
