package diagnose

import (
	"strings"

	"github.com/unwedge/unwedge/harness/result"
)

// initGaveUp: an initramfs said why it goes no further before its PID 1 ended, as with
// panic= (initramfs-tools) or boot.panic_on_fail (NixOS).
func initGaveUp(f facts) *result.Diagnosis {
	p := f.log.panicReport("Attempted to kill init!", "Attempted to kill the init")
	if p == nil {
		return nil
	}
	code, ok := exitCode(p.Text)
	if ok && code&0x7f != 0 {
		return nil // a signal ended it
	}
	for _, rule := range []func(facts) *result.Diagnosis{saidWhy, rootDevice, saidLast} {
		why := rule(f)
		if why == nil || why.Where == result.WhereUserspace {
			continue
		}
		why.Kind, why.Title = result.KindPanic, "kernel panic: "+strings.TrimPrefix(why.Title, "hang: ")
		why.Evidence = append(why.Evidence, f.log.reportEvidence("the panic", p))
		why.Notes = append(why.Notes, "the kernel panicked because PID 1 gave up and ended")
		return why
	}
	return nil
}
