package candidate

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
)

// Upstream is a kernel version as kernel.org numbers it.
type Upstream struct {
	Major, Minor int
	Patch        int // of the stable series; 0 for the release it starts from
	RC           int // the release candidate; 0 for a release
}

// The version leads a package's version or a kernel's release: 6.12.43-1,
// 7.4~rc3-1~exp1, 6.12.0-rc3-00012-gdeadbeef, 7.3.4+deb13-cloud-amd64. Debian
// writes ~rc and Fedora -0.rc, so that it sorts before the release.
var upstreamRE = regexp.MustCompile(`^(?:\d+:)?(\d{1,4})\.(\d{1,4})(?:\.(\d{1,6})(?:\.\d+)*)?(?:[~-]rc(\d{1,3})|-0\.rc(\d{1,3})(?:\.\S*)?)?(?:[^0-9A-Za-z.].*)?$`)

// ParseUpstream reads the kernel version that a package's version or a
// kernel's release starts with; ok is false where there is none.
func ParseUpstream(s string) (u Upstream, ok bool) {
	m := upstreamRE.FindStringSubmatch(s)
	if m == nil {
		return Upstream{}, false
	}
	number := func(s string) int {
		n, _ := strconv.Atoi(s) // the expression bounds it; "" is 0
		return n
	}
	return Upstream{number(m[1]), number(m[2]), number(m[3]), number(m[4] + m[5])}, true
}

// Compare orders versions as they were released, stable series by series:
// 6.12-rc3, 6.12, 6.12.43, 6.13-rc1.
func (u Upstream) Compare(v Upstream) int {
	rc := func(n int) int {
		if n == 0 {
			return int(^uint(0) >> 1) // the release comes after its candidates
		}
		return n
	}
	return cmp.Or(cmp.Compare(u.Major, v.Major), cmp.Compare(u.Minor, v.Minor),
		cmp.Compare(u.Patch, v.Patch), cmp.Compare(rc(u.RC), rc(v.RC)))
}

// Series is the stable series, such as "6.12".
func (u Upstream) Series() string { return fmt.Sprintf("%d.%d", u.Major, u.Minor) }

// String writes the version as kernel.org does: 6.12, 6.12.43, 7.4-rc3.
func (u Upstream) String() string {
	s := u.Series()
	if u.Patch > 0 {
		s += fmt.Sprintf(".%d", u.Patch)
	}
	if u.RC > 0 {
		s += fmt.Sprintf("-rc%d", u.RC)
	}
	return s
}

// comparePackages orders released kernels: by kernel version, then by the
// distribution's own, then by name.
func comparePackages(a, b PackageVersion) int {
	return cmp.Or(a.Upstream.Compare(b.Upstream), compareVersions(a.Version, b.Version), cmp.Compare(a.Package, b.Package), cmp.Compare(a.Arg, b.Arg))
}

// MarshalText writes String.
func (u Upstream) MarshalText() ([]byte, error) { return []byte(u.String()), nil }
