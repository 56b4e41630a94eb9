package diagnose

import "github.com/unwedge/unwedge/harness/result"

// parked: the kernel found before its first line that this CPU cannot run it, and stops.
func parked(f facts) *result.Diagnosis {
	for _, c := range f.cpus {
		fn := functionOf(c.Symbol)
		lacks, ok := parkedIn[fn]
		if !ok || c.User || f.log.Records > 0 {
			continue
		}
		return &result.Diagnosis{
			Kind: result.KindEarlyDeath, Cause: result.CauseSilent, Where: result.WhereHarness, Confidence: result.Likely,
			Title: "the CPU model does not have " + lacks, Function: fn,
			Summary:  "the kernel stopped in " + fn + " before its first line: this CPU model does not have " + lacks,
			Remedy:   "boot with another CPU model: --cpu max (under TCG --cpu max,pauth-impdef=on is faster)",
			Evidence: f.cpus.evidence(),
		}
	}
	return nil
}

// parkedIn are the functions in which a kernel stops before its first line, and what the
// CPU then lacks (arch/arm64/kernel/head.S).
var parkedIn = map[string]string{
	"__no_granule_support": "pages of the kernel's size",
}
