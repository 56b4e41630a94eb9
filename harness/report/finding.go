package report

import (
	"fmt"
	"strings"

	"github.com/unwedge/unwedge/harness/result"
)

// maxFindings bounds the findings shown.
const maxFindings = 20

// Explanation writes the report on a log: where and why its last boot is blocked, and
// the kernel's reports in it, one line each.
func Explanation(b *strings.Builder, e result.Explanation, s Style) {
	word := strings.ToUpper(safe(string(e.Kind)))
	if e.Kind == result.KindBooted && !result.Clean(e.LastBoot()) {
		word += unclean
	}
	fmt.Fprintf(b, "%s\n", word)
	Diagnosis(b, e.Diagnosis, s)
	findings(b, e.Findings, e.Boots, s)
}

// unclean follows the word for a boot that came to its end, with findings.
const unclean = ", UNCLEAN"

// findings lists the kernel's reports of a log of so many boots.
func findings(b *strings.Builder, list []result.Finding, boots int, s Style) {
	for i, f := range list {
		if i == maxFindings {
			field(b, "finding", fmt.Sprintf("… %d more: see --json", len(list)-i))
			break
		}
		field(b, "finding", finding(f, boots, s))
	}
}

// finding is one line: the severity, the title, and when.
func finding(f result.Finding, boots int, s Style) string {
	var when []string
	if f.Time > 0 {
		when = append(when, fmt.Sprintf("at %.1f s", f.Time))
	}
	if f.Count > 1 {
		when = append(when, fmt.Sprintf("%d times", f.Count))
	}
	if boots > 1 {
		when = append(when, fmt.Sprintf("boot %d of %d", f.Boot+1, boots))
	}
	if k := f.Known; k != nil {
		when = append(when, "known: "+safe(strings.TrimSpace(k.Reason+" "+k.Link)))
	}
	text := ""
	if f.New {
		text = "new: "
	}
	text += s.paint(severityColours[f.Severity], safe(string(f.Severity))) + ": " + safe(f.Title)
	if len(when) > 0 {
		text += " (" + strings.Join(when, ", ") + ")"
	}
	return text
}

var severityColours = map[result.Severity]string{result.Fatal: red, result.Error: red, result.Warning: yellow, result.Note: plain}
