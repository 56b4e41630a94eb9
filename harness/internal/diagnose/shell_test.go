package diagnose

import (
	"strings"
	"testing"

	"github.com/unwedge/unwedge/harness/result"
)

func TestShellInPlaceOfInit(t *testing.T) {
	const log = `[    1.431361] Run /init as init process
[    1.435775] Failed to execute /init (error -8)
[    1.437353] Run /bin/sh as init process
[    7.100000] sysrq: Show State
[    7.589888] task:COMM            state:S stack:0     pid:1     ppid:0      flags:0x00000002
[    7.590273] Call Trace:
[    7.590502]  <TASK>
[    7.590759]  __schedule+0x34d/0x9e0
[    7.591197]  schedule+0x5a/0xd0
[    7.591388]  do_sys_poll+0x535/0x600
[    7.592913]  __x64_sys_poll+0x4a/0x140
[    7.593338]  do_syscall_64+0x5d/0x90
[    7.594000]  </TASK>
`
	for name, tc := range map[string]struct {
		log  string
		want result.Cause
	}{
		"a shell":                   {strings.ReplaceAll(log, "COMM", "sh  "), result.CauseNoInit},
		"another program":           {strings.ReplaceAll(log, "COMM", "init"), result.CauseUnknown},
		"a shell that is asked for": {strings.ReplaceAll(strings.ReplaceAll(log, "COMM", "sh  "), "Failed to execute /init (error -8)", "."), result.CauseUnknown},
	} {
		d := Explain([]byte(tc.log))
		if d.Cause != tc.want {
			t.Errorf("%s: %s %q, want %s", name, d.Cause, d.Title, tc.want)
		}
		if tc.want == result.CauseNoInit && (d.Task == nil || d.Task.Comm != "sh" || !strings.Contains(d.Summary, "/init (error -8)")) {
			t.Errorf("%s: %+v, %q", name, d.Task, d.Summary)
		}
	}
}
