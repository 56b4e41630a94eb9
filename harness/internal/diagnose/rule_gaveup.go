package diagnose

import (
	"github.com/unwedge/unwedge/harness/internal/notice"
	"github.com/unwedge/unwedge/harness/result"
)

// saidWhy: the initramfs, systemd or the kernel's search for its root file system
// says in so many words why the boot stops.
func saidWhy(f facts) *result.Diagnosis {
	said := f.log.said(notice.EarlyUser)
	if len(said.list) == 0 || said.list[0].Role == notice.Consequence || blockedElsewhere(f) {
		return nil
	}
	return gaveUp(f, said)
}

// saidLast: the same by a line that other reasons often cause, where none is known.
func saidLast(f facts) *result.Diagnosis {
	said := f.log.said(notice.EarlyUser)
	if len(said.list) == 0 || !said.stops || blockedElsewhere(f) {
		return nil
	}
	return gaveUp(f, said)
}

func gaveUp(f facts, said sayings) *result.Diagnosis {
	kind := result.KindHalted
	if said.list[0].Role == notice.Retry || !said.stops {
		kind = result.KindHang
	}
	out := said.answer(f.log, kind)
	if f.end != nil {
		out.Task = blockedTask(f.end)
		out.Evidence = append(out.Evidence, f.tasks.evidence(f.end))
	}
	return out
}
