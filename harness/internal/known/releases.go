package known

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// releases is a range of kernel releases, both ends included; its zero value has all.
type releases struct{ from, to []int }

var releaseRange = regexp.MustCompile(`^(\d+(?:\.\d+){1,2})?(\.\.)?(\d+(?:\.\d+){1,2})?$`)

// parseReleases reads 6.12..7.3, 6.12.., ..7.3 or 7.3. 7.3 is 7.3.0-rc1 and 7.3.9, too.
func parseReleases(text string) (r releases, err error) {
	if text == "" {
		return r, nil
	}
	m := releaseRange.FindStringSubmatch(text)
	if m == nil || m[2] == "" && m[3] != "" || m[1] == "" && m[3] == "" {
		return r, fmt.Errorf("releases %q: write a range such as 6.12..7.3, 6.12.. or 7.3", text)
	}
	r.from, r.to = numbers(m[1]), numbers(m[3])
	if m[2] == "" {
		r.to = r.from
	}
	return r, nil
}

func numbers(version string) (out []int) {
	if version == "" {
		return nil
	}
	for _, s := range strings.Split(version, ".") {
		n, err := strconv.Atoi(s)
		if err != nil {
			n = 1 << 30 // more digits than any release has
		}
		out = append(out, n)
	}
	return out
}

var releaseNumbers = regexp.MustCompile(`^\d+\.\d+(\.\d+)?`)

// has says whether a release is in the range; the ends count as far as they are written.
func (r releases) has(release string) bool {
	if r.from == nil && r.to == nil {
		return true
	}
	n := numbers(releaseNumbers.FindString(release))
	return n != nil && order(n, r.from) >= 0 && order(n, r.to) <= 0
}

// order compares a release with an end, as far as that is written.
func order(release, end []int) int {
	for i, e := range end {
		have := 0
		if i < len(release) {
			have = release[i]
		}
		if have != e {
			return have - e
		}
	}
	return 0
}
