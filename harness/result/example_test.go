package result_test

import (
	"fmt"

	"github.com/unwedge/unwedge/harness/result"
)

// What a CI job reads of a boot.
func ExampleRead() {
	r, err := result.Read("testdata/hang-in-flock.json")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(r.Kernel.Release, r.Outcome)
	if d := r.Diagnosis; d != nil {
		fmt.Println(d.Title)
		for _, l := range d.Chain {
			fmt.Printf("%s(%d) %s() in %s\n", l.Comm, l.PID, l.Syscall, l.Func)
		}
	}
	// Output:
	// 5.10.0-32-cloud-amd64 hung
	// hang: init waits in flock
	// init(1) waitid() in do_wait
	// init(74) flock() in locks_lock_inode_wait
}
