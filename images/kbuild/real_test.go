package kbuild

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// The fragments of every scenario hold in a real kernel tree: UNWEDGE_LINUX names
// one. No compiler of the other architecture is needed but where there is one.
func TestFragmentsHoldInARealTree(t *testing.T) {
	tree := os.Getenv("UNWEDGE_LINUX")
	if tree == "" {
		t.Skip("UNWEDGE_LINUX names no kernel tree")
	}
	var sets [][]string
	for _, template := range scenarios.Builtin() {
		for _, cell := range template.Cells() {
			set := cell.Fragments()
			if !slices.ContainsFunc(sets, func(s []string) bool { return slices.Equal(s, set) }) {
				sets = append(sets, set)
			}
		}
	}
	for _, a := range arch.All() {
		for _, config := range []string{"defconfig", "tinyconfig"} {
			for _, set := range sets {
				t.Run(string(a)+"/"+config+"/"+strings.Join(set, "+"), func(t *testing.T) {
					s := Spec{Source: tree, Output: filepath.Join(t.TempDir(), "out"), Arch: a, Config: config}
					if _, err := s.Tools(); err != nil {
						t.Skip(err)
					}
					for _, name := range set {
						f, err := FindFragment(name, a)
						if err != nil {
							t.Fatal(err)
						}
						s.Fragments = append(s.Fragments, f)
					}
					if err := s.Configure(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
}
