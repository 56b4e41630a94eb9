package diagnose

import "github.com/unwedge/unwedge/harness/result"

const tripleFaultRemedy = "run QEMU with -no-reboot -d int,cpu_reset to see the exception, and boot with earlyprintk or earlycon to see the kernel's last lines; a watchdog's reset looks the same"

// tripleFault: the machine reset, and the kernel printed no reason.
func tripleFault(f facts) *result.Diagnosis {
	if f.in.Ending != EndingReset {
		return nil
	}
	return &result.Diagnosis{
		Kind: result.KindReset, Cause: result.CauseTripleFault, Where: result.WhereKernel, Confidence: result.Likely,
		Title:    "the machine reset without a word at stage " + string(f.log.Boot.Stage),
		Summary:  "the machine reset, and the console shows neither a panic nor a clean restart: a triple fault or a watchdog",
		Remedy:   tripleFaultRemedy,
		Evidence: append(f.log.lastLine("the last line before the reset"), result.Evidence{What: "the machine reset", Offset: -1, Source: sourceQMP}),
	}
}
