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

// A boot that comes through need not be clean.
func ExampleBeClean() {
	e := harness.Explain([]byte(`[    0.000000] Linux version 6.6.30 (build@example) (gcc 12.2.0) #1 SMP
[    1.000000] WARNING: CPU: 0 PID: 1 at drivers/demo.c:3 demo_init+0x1/0x2
[    2.000000] systemd[1]: Reached target multi-user.target - Multi-User System.
`))
	fmt.Println(unwedgetest.BeClean().Match(e))
	fmt.Println(e.Kind, e.Title)
	// Output:
	// false <nil>
	// booted WARNING in demo_init
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
