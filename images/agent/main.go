// Command agent runs in the guest and reports how far user space
// has come. As /init of the tiny initramfs it is also PID 1 and does what the
// kernel command line asks of it; from the dracut images and the root file
// system it is started by systemd units as `agent report STAGE`.
//
// It is linked statically, needs nothing of the guest's user space, and never
// waits without a bound for anything, so that it cannot be what a boot hangs
// on (but where it is asked to hang, see faults.go).
package main

import (
	"fmt"
	"os"
	"runtime"

	"github.com/unwedge/unwedge/images/agentproto"
	"github.com/unwedge/unwedge/scenarios/stage"
)

// The main goroutine stays on the process's first thread: what PID 1 is asked
// to block in is then in the stack of PID 1, not in that of one of its threads.
// Only an init function can say so (runtime.LockOSThread).
func init() { runtime.LockOSThread() }

func main() {
	switch {
	case os.Getpid() == 1 && os.Args[0] == agentproto.FirstInit:
		runFirst()
	case os.Getpid() == 1:
		runInit()
	case len(os.Args) == 3 && os.Args[1] == "report":
		if err := report(stage.Stage(os.Args[2])); err != nil {
			fmt.Fprintln(os.Stderr, "unwedge agent:", err)
			os.Exit(1)
		}
	case len(os.Args) == 3 && os.Args[1] == "fault":
		runFault(os.Args[2])
	default:
		fmt.Fprintln(os.Stderr, "usage: agent report STAGE | agent fault NAME")
		os.Exit(2)
	}
}
