package diagnose

import (
	"strings"

	"github.com/unwedge/unwedge/harness/result"
)

// handedOver: the kernel's last line says that it turned its boot console off, and
// none of its consoles is the one that is read: it prints elsewhere.
func handedOver(f facts) *result.Diagnosis {
	b := &f.log.Boot
	if f.end != nil || !strings.Contains(b.LastText, "bootconsole [") || !strings.HasSuffix(b.LastText, "disabled") {
		return nil
	}
	var consoles []string
	for w := range strings.FieldsSeq(string(f.cmdline)) {
		if v, ok := strings.CutPrefix(w, "console="); ok {
			name, _, _ := strings.Cut(v, ",")
			if f.in.Scenario != nil && name == f.in.Scenario.Console || f.in.Scenario == nil && !strings.HasPrefix(name, "tty0") && name != "tty" {
				return nil // this may be the one that is read
			}
			consoles = append(consoles, name)
		}
	}
	where := "another device"
	if len(consoles) > 0 {
		where = strings.Join(consoles, " and ")
	}
	return &result.Diagnosis{
		Kind: result.KindHang, Cause: result.CauseWrongConsole, Where: result.WhereHarness, Confidence: result.Likely,
		Title:    "the kernel speaks on another console",
		Summary:  "the kernel turned off its boot console, and nothing followed: it prints to " + where + ", which unwedge does not read",
		Remedy:   "set console= to the device that unwedge reads" + consoleArg(f) + "; keep_bootcon keeps the boot console as well",
		Evidence: f.log.lastLine("the kernel's last line on this console"),
	}
}

func consoleArg(f facts) string {
	if f.in.Scenario != nil && f.in.Scenario.Console != "" {
		return " (console=" + f.in.Scenario.Console + ")"
	}
	return ""
}
