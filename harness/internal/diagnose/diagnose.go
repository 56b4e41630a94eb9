// Package diagnose says where a boot is blocked and why. It is pure: facts in,
// a Diagnosis out.
//
// A cause is named only when its own facts are there. Facts that fit another
// cause as well lower the confidence; without facts the answer is unknown, with
// whatever evidence there is. README.md lists the causes and shows how to add one.
package diagnose

import (
	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/internal/findings"
	"github.com/unwedge/unwedge/harness/internal/shape"
	"github.com/unwedge/unwedge/harness/result"
)

// Diagnose says where the boot is blocked and why. It never fails: without
// facts the cause is CauseUnknown.
func Diagnose(in Input) result.Diagnosis {
	f := gather(in)
	_, out, also := answer(f)
	finish(f, out, also)
	return *out
}

// Explain diagnoses a log alone: a serial console, dmesg or a journal, also one that
// is wrapped in something (see package shape), and lists the kernel's reports in it.
// It reads the reports of unwedge's own agent in it. Offsets in the evidence are those
// of the text inside.
func Explain(log []byte) result.Explanation {
	text, _ := shape.Unwrap(log)
	in := fromLog(text)
	out := result.Explanation{Findings: findings.Of(in.Dump), Boots: findings.Boots(in.Dump)}
	if crashed, ok := beforeKdump(text, in.Dump); ok {
		out.Diagnosis = Diagnose(fromLog(crashed))
		out.Diagnosis.Notes = append(out.Diagnosis.Notes, "the boot after it is that of the crash kernel (kdump), which saves the memory of the one that crashed")
		return out
	}
	out.Diagnosis = Diagnose(in)
	return out
}

func fromLog(text []byte) Input {
	d := dump.Parse(text)
	return Input{Dump: d, Agent: agentLines(text[min(log{d}.start(), int64(len(text))):])}
}

// beforeKdump is the text before the last boot, where that is of the kernel that a
// panic starts to save the memory: it is not what failed. kexec gives that kernel
// elfcorehdr= on x86 and powerpc, and kdump's own scripts reset_devices.
func beforeKdump(text []byte, d *dump.Dump) ([]byte, bool) {
	n := len(d.Boot.Kernels)
	args := cmdline(d.Boot.Cmdline)
	if n < 2 || !args.has("reset_devices") && args.value("elfcorehdr") == "" {
		return nil, false
	}
	return text[:d.Boot.Kernels[n-1].Offset], true
}

// answer is the Diagnosis of the first rule that fires, with notes on what the
// later ones found.
func answer(f facts) (won rule, out *result.Diagnosis, also []string) {
	for _, r := range rules() {
		got := r.fire(f)
		switch {
		case got == nil:
		case out == nil:
			won, out = r, got
		case got.Cause == out.Cause || r.family == won.family || r.family == famNone || r.family == famEnding:
		default:
			also = append(also, "also seen: "+got.Title)
			if rivals(won.family, r.family) && !f.cpus.prove(out) {
				lessCertain(out)
			}
		}
	}
	return won, out, also
}

// lessCertain lowers Certain to Likely.
func lessCertain(out *result.Diagnosis) {
	if out.Confidence == result.Certain {
		out.Confidence = result.Likely
	}
}
