package diagnose

import (
	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/result"
)

// selfTest: with fips=1 a failed self-test of an algorithm panics the kernel
// (crypto/testmgr.c).
func selfTest(f facts) *result.Diagnosis {
	e, ok := f.log.Boot.Event(dump.EventSelfTest)
	p := f.log.panicReport("in fips mode", "fips", "self test failed", "self-tests for")
	if p == nil {
		return nil
	}
	alg := e.Subject
	if !ok || alg == "" {
		alg = "an algorithm"
	}
	out := &result.Diagnosis{
		Kind: result.KindPanic, Cause: result.CauseSelfTest, Where: result.WhereKernel, Confidence: result.Certain,
		Title:    "crypto self-test of " + alg + " failed in FIPS mode",
		Summary:  "the kernel panicked because the self-test of " + alg + " failed in FIPS mode",
		Remedy:   "find out why the self-test fails (boot without fips=1 and read the same 'alg:' line), or leave the implementation out of the kernel",
		Function: p.Func,
		Evidence: []result.Evidence{f.log.reportEvidence("the panic", p)},
	}
	if ok {
		out.Evidence = append(out.Evidence, f.log.eventEvidence("the self-test", e))
	}
	return out
}
