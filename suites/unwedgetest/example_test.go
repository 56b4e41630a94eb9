package unwedgetest_test

import (
	"fmt"
	"strings"

	"github.com/unwedge/unwedge/harness"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/suites/unwedgetest"
)

// A Result of an earlier boot is matched like that of Boot.
func ExampleHaveCause() {
	boot, err := result.Read("../../harness/result/testdata/hang-in-flock.json")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(unwedgetest.HaveCause(result.CauseUserLock).Match(boot))
	fmt.Println(unwedgetest.HaveCause(result.CauseEntropy, result.CauseRootDevice).Match(boot))
	// Output:
	// true <nil>
	// false <nil>
}

// The diagnosis of a log is matched, too.
func ExampleHaveCause_log() {
	d := harness.Explain([]byte(`[    1.812034] VFS: Cannot open root device "vda1" or unknown-block(0,0): error -6
[    1.812899] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)
`))
	fmt.Println(unwedgetest.HaveCause(result.CauseRootDevice, result.CauseRootMount).Match(d))
	fmt.Println(d.Title)
	// Output:
	// true <nil>
	// kernel panic: VFS: Unable to mount root fs on unknown-block(0,0)
}

// The failure message of a matcher is the report on the boot.
func ExampleReachUserspace() {
	boot, err := result.Read("../../harness/result/testdata/hang-in-flock.json")
	if err != nil {
		fmt.Println(err)
		return
	}
	message, _, _ := strings.Cut(unwedgetest.ReachUserspace().FailureMessage(boot), "\n")
	fmt.Println(message)
	// Output:
	// Expected the boot to reach user space, but it hung, after the stages "init"; the stage userspace was not reported.
}
