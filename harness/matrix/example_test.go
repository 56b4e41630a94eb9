package matrix_test

import (
	"fmt"

	"github.com/unwedge/unwedge/harness/matrix"
	"github.com/unwedge/unwedge/scenarios"
)

func ExampleDifference() {
	cell := func(i scenarios.Initramfs, o scenarios.Outcome) matrix.Point {
		return matrix.Point{Scenario: scenarios.Scenario{Initramfs: i}, Outcome: o, Expected: o == scenarios.Booted}
	}
	fmt.Println(matrix.Difference([]matrix.Point{
		cell(scenarios.Tiny, scenarios.Booted), cell(scenarios.Dracut, scenarios.Booted), cell(scenarios.DracutFIPS, scenarios.Hung),
	}))
	// Output: hangs only with fips=1
}
