package diagnose

import (
	"fmt"

	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/harness/result"
)

func ownerEvidence(f facts, out *result.Diagnosis) {
	for _, o := range f.log.Owners {
		for _, t := range f.chain.tasks {
			if o.WaiterPID == t.PID {
				e := result.Evidence{What: "khungtaskd names the owner", Lines: f.log.Evidence(o.Offset, o.End, model.Caller{}, 1), Offset: o.Offset, Source: sourceConsole}
				if o.End == 0 {
					e = result.Evidence{What: "memory names the owner", Lines: []string{fmt.Sprintf("%s of PID %d: owned by %s (PID %d)", o.Lock, o.WaiterPID, o.OwnerComm, o.OwnerPID)}, Offset: -1, Source: sourceMemory}
				}
				out.Evidence = append(out.Evidence, e)
				break
			}
		}
		if len(out.Evidence) > 12 {
			return
		}
	}
}

// selfLocked says whether the last task of the chain owns what it waits for.
func selfLocked(f facts) bool {
	for _, o := range f.log.Owners {
		if o.WaiterPID == f.end.PID && o.OwnerPID == f.end.PID {
			return true
		}
	}
	return false
}
