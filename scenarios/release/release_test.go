package release_test

import (
	"testing"

	"github.com/unwedge/unwedge/scenarios/release"
)

func TestTheTable(t *testing.T) {
	seen := map[release.Release]bool{}
	for _, r := range release.All() {
		if seen[r] || r == "" || !r.Valid() || r.Facts().Suite == "" {
			t.Errorf("%q: twice, or without a suite", r)
		}
		seen[r] = true
	}
	if !seen[release.Default] || !release.Release("").Valid() || release.Release("").Facts().Suite != release.Default.Facts().Suite {
		t.Error("the default is no release, or not what an empty name means")
	}
	if release.Release("no such").Valid() {
		t.Error("an unknown release is valid")
	}
}
