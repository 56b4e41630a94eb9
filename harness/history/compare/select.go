package compare

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/harness/history/store"
	"github.com/unwedge/unwedge/harness/internal/usage"
)

// Last names the kernel of the latest run; as the first of two, that of the latest run
// of another kernel than the second in one of the second's cells. An empty word is the same.
const Last = "last"

// minDigits is how much of a build ID or checksum names a kernel.
const minDigits = 8

// Select finds the two sides of a comparison. Each word is a release, the git describe of
// one, at least 8 digits of a build ID or of the file's checksum, the kernel argument of
// the runs, or Last. kernels are all there are, that with the latest run first. Errors
// wrap usage.Error. neighbours are the kernels that were booted where a side was.
func Select(kernels []store.Kernel, a, b string, neighbours func(Side) ([]int64, error)) (sideA, sideB Side, err error) {
	if len(kernels) == 0 {
		return sideA, sideB, usage.Wrap(store.ErrNone)
	}
	if sideB, err = choose(kernels, b, nil); err != nil {
		return sideA, sideB, err
	}
	if a == Last || a == "" {
		near, err := neighbours(sideB)
		if err != nil {
			return sideA, sideB, err
		}
		kernels = slices.DeleteFunc(slices.Clone(kernels), func(k store.Kernel) bool { return !slices.Contains(near, k.ID) })
	}
	sideA, err = choose(kernels, a, sideB.Kernels)
	return sideA, sideB, err
}

func choose(kernels []store.Kernel, word string, other []store.Kernel) (Side, error) {
	s := Side{Word: word}
	if word == "" {
		word = Last
	}
	taken := map[int64]bool{}
	for _, k := range other {
		taken[k.ID] = true
	}
	for _, k := range kernels {
		if word == Last && !taken[k.ID] {
			s.Kernels = []store.Kernel{k}
			return s, nil
		}
		if names(word, k) {
			s.Kernels = append(s.Kernels, k)
		}
	}
	switch {
	case word == Last:
		return s, usage.Errorf("compare: %q: the history has no other kernel in the same cells: boot one", word)
	case len(s.Kernels) == 0:
		return s, usage.Errorf("compare: no run of %q: `unwedge history --by kernel` lists what was booted", word)
	case len(other) > 0 && taken[s.Kernels[0].ID]:
		return s, usage.Errorf("compare: %q names the same kernel twice: name a build ID", word)
	}
	return s, nil
}

// names says whether a word names a kernel. A kernel that was changed on purpose has the
// release and the build ID of the one that it was made of, so these do not name it.
func names(word string, k store.Kernel) bool {
	path, err := filepath.Abs(word) // a file's origin is absolute
	switch {
	case word == k.Origin, err == nil && path == k.Origin, len(word) >= minDigits && strings.HasPrefix(k.SHA256, word):
		return true
	case k.Fault != "":
		return false
	}
	return word == k.Release || describes(word, k.Release) || len(word) >= minDigits && strings.HasPrefix(k.BuildID, word)
}

// describe is what git describe prints of a kernel's tag, or of a commit after it.
var describe = regexp.MustCompile(`^v(\d+\.\d+)(\.\d+)?(-rc\d+)?(?:-\d+-g([0-9a-f]{7,40}))?$`)

// commit is what scripts/setlocalversion adds to a release, with CONFIG_LOCALVERSION_AUTO.
var commit = regexp.MustCompile(`-g([0-9a-f]{7,40})`)

// describes says whether a git describe names the release: v7.3-rc1 is 7.3.0-rc1.
func describes(word, release string) bool {
	m := describe.FindStringSubmatch(word)
	if m == nil {
		return false
	}
	if hash := m[4]; hash != "" {
		of := commit.FindStringSubmatch(release)
		return of != nil && (strings.HasPrefix(of[1], hash) || strings.HasPrefix(hash, of[1]))
	}
	sub := m[2]
	if sub == "" {
		sub = ".0"
	}
	return release == m[1]+sub+m[3]
}
