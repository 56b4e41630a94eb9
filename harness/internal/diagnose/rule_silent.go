package diagnose

import (
	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/result"
)

// silent: the kernel printed nothing, or only its first lines. It counts as dead
// only when nothing shows that it runs.
func silent(f facts) *result.Diagnosis {
	b := &f.log.Boot
	if b.Stage.Rank() > dump.StageEarly.Rank() || f.log.Records > 0 && b.KernelCount > 0 && b.KernelRecords > 3 {
		return nil
	}
	if b.Stage == dump.StageFirmware && b.FirmwareCount == 0 && f.in.Ending == "" && len(b.Events) == 0 {
		return nil // neither firmware nor a kernel wrote this text
	}
	if b.Stage == dump.StageNone && f.log.Records > 0 {
		return nil // a piece of a log
	}
	ev := append(f.log.lastLine("the last line of the console"), f.cpus.evidence()...)
	ev = append(ev, f.agent.evidence()...)
	if alive(f) {
		out := &result.Diagnosis{
			Kind: result.KindHang, Cause: result.CauseWrongConsole, Where: result.WhereHarness, Confidence: result.Likely,
			Title:    "the kernel runs, but not on this console",
			Summary:  "the console is silent although the kernel runs: its console is another device",
			Remedy:   "set console= to the device that unwedge reads" + consoleArg(f),
			Evidence: ev,
		}
		if len(f.agent) > 0 {
			out.Confidence = result.Certain
		}
		return out
	}
	out := &result.Diagnosis{Kind: result.KindEarlyDeath, Cause: result.CauseSilent, Where: result.WhereKernel, Confidence: result.Likely, Evidence: ev}
	if e, ok := b.Event(dump.EventStuckFirmware); ok {
		out.Cause, out.Where, out.Confidence = result.CauseFirmware, result.WhereFirmware, result.Certain
		out.Title = "firmware found nothing to boot"
		out.Summary = "the firmware found no bootable device: " + e.Text
		out.Remedy = "check the boot disk and its boot entries, or boot the kernel directly"
		return out
	}
	if e, ok := b.Event(dump.EventLoaderError); ok {
		out.Where, out.Confidence = result.WhereFirmware, result.Certain
		out.Title = "the EFI stub failed"
		out.Summary = "the kernel's EFI stub failed: " + e.Text
		out.Evidence = append(out.Evidence, f.log.eventEvidence("the EFI stub", e))
		return out
	}
	out.Remedy = "check console= for this machine" + consoleArg(f) + ", boot with earlyprintk=serial,keep (x86) or earlycon (arm64) to see earlier output, and check that the image is for this machine"
	switch b.Stage {
	case dump.StageNone:
		out.Title = "silent: not one byte on the console"
		out.Summary = "the console is empty: the kernel died before its first line, or prints elsewhere"
		out.Where = result.WhereUnknown
	case dump.StageFirmware:
		out.Title = "silent after the firmware"
		out.Summary = "nothing followed the firmware: the kernel was not entered, died before its first line, or prints elsewhere"
		out.Where = result.WhereUnknown
	case dump.StageLoader:
		out.Title = "silent after the EFI stub or boot loader"
		out.Summary = "the boot loader handed over, and nothing followed"
	case dump.StageDecompress:
		out.Title = "silent after decompression"
		out.Summary = "the kernel unpacked itself, and nothing followed"
	default:
		out.Title = "silent after the kernel's first lines"
		out.Summary = "the kernel printed its first lines, and nothing followed"
	}
	return out
}

// alive says whether anything but the console shows that the kernel runs: an agent
// report, or a virtual CPU that idles or is in user mode.
func alive(f facts) bool {
	if len(f.agent) > 0 {
		return true
	}
	for _, c := range f.cpus {
		if c.User || c.Idle && c.Symbol != "" {
			return true
		}
	}
	return false
}
