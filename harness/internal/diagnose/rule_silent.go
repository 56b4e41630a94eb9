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
	if f.in.Ending == "" && worst(f) != nil {
		return nil // the kernel had something to say
	}
	ev := append(f.log.lastLine("the last line of the console"), f.cpus.evidence()...)
	ev = append(ev, f.agent.evidence()...)
	switch sign := alive(f); sign {
	case dead:
	case rests:
		return silentIdle(f, ev)
	default:
		out := &result.Diagnosis{
			Kind: result.KindHang, Cause: result.CauseWrongConsole, Where: result.WhereHarness, Confidence: result.Likely,
			Title:    "the kernel runs, but not on this console",
			Summary:  "the console is silent although the kernel runs: its console is another device",
			Remedy:   "set console= to the device that unwedge reads" + consoleArg(f),
			Evidence: ev,
		}
		if sign == reports {
			out.Confidence = result.Certain
		}
		return out
	}
	out := &result.Diagnosis{Kind: result.KindEarlyDeath, Cause: result.CauseSilent, Where: result.WhereKernel, Confidence: result.Likely, Evidence: ev}
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
		if f.in.Ending == "" {
			out.Confidence = result.Possible
		}
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
		if f.in.Ending == "" { // a log alone may have been cut here
			out.Confidence = result.Possible
		}
		out.Title = "silent after the kernel's first lines"
		out.Summary = "the kernel printed its first lines, and nothing followed"
	}
	return out
}

// silentIdle: the kernel idles, prints nothing, and its memory says nothing either. It
// may work well and print elsewhere, or wait for something that never happens.
func silentIdle(f facts, ev []result.Evidence) *result.Diagnosis {
	return &result.Diagnosis{
		Kind: result.KindHang, Cause: result.CauseUnknown, Where: result.WhereUnknown, Confidence: result.Unknown,
		Title:    "unknown: the kernel idles, and this console is silent",
		Summary:  "the console is silent and every virtual CPU idles: the kernel waits for something, or it works and prints to another device",
		Remedy:   "set console= to the device that unwedge reads" + consoleArg(f) + ", and let unwedge read the kernel's types: build it with CONFIG_DEBUG_INFO_BTF=y, or boot it from its build tree",
		Evidence: ev,
	}
}

// sign is what, beside the console, shows that the kernel runs.
type sign int

const (
	dead     sign = iota
	rests         // a virtual CPU idles: the kernel came up, and may be stuck
	userMode      // a virtual CPU runs user space
	reports       // the guest agent reported
)

func alive(f facts) sign {
	if len(f.agent) > 0 {
		return reports
	}
	out := dead
	for _, c := range f.cpus {
		switch {
		case c.User:
			return userMode
		case c.Idle && c.Symbol != "":
			out = rests
		}
	}
	return out
}
