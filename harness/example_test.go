package harness_test

import (
	"fmt"

	"github.com/unwedge/unwedge/harness"
)

// The log of a hung boot: the 4.17-rc1 kernel whose machines had no virtio-rng,
// after alt-sysrq-t.
func ExampleExplain() {
	log := []byte(`[    0.000000] Linux version 4.17.0-0.rc1.git1.1.fc29.x86_64 (builder@example) (gcc) #1 SMP
[    0.000137] Command line: root=/dev/vda1 ro fips=1 console=ttyS0
[   61.000000] SysRq : Show State
[   61.000137]   task                        PC stack   pid father
[   61.000274] systemd         S    0     1      0 0x00000000
[   61.000411] Call Trace:
[   61.000548]  __schedule+0x2e3/0x870
[   61.000685]  schedule+0x28/0x80
[   61.000822]  wait_for_random_bytes+0x83/0xb0
[   61.001096]  __x64_sys_getrandom+0x16/0x20
[   61.001233]  do_syscall_64+0x5b/0x180
[   61.001370]  entry_SYSCALL_64_after_hwframe+0x44/0xa9
`)
	d := harness.Explain(log)
	fmt.Println(d.Kind, d.Cause, d.Confidence)
	fmt.Println(d.Task.Comm, d.Task.PID, d.Syscall, d.Function)
	// Output:
	// hang entropy-starvation likely
	// systemd 1 getrandom wait_for_random_bytes
}
