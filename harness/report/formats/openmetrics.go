package formats

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/unwedge/unwedge/harness/report"
	"github.com/unwedge/unwedge/harness/report/summary"
	"github.com/unwedge/unwedge/harness/result"
)

// family is a metric family of OpenMetrics 1.0: its samples must stand together.
type family struct {
	name, unit, help string
	samples          []string
}

func (f *family) add(labels []string, value float64) {
	f.samples = append(f.samples, f.name+"{"+strings.Join(labels, ",")+"} "+strconv.FormatFloat(value, 'g', -1, 64))
}

// label is one label with its value escaped.
func label(name, value string) string {
	return name + `="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(value) + `"`
}

// openmetrics writes gauges. The label cell makes each set of labels the only one.
func openmetrics(w io.Writer, s summary.Summary, _ Options) error {
	boot := &family{name: "unwedge_boot_seconds", unit: "seconds", help: "Wall time from the start of QEMU to the outcome."}
	ok := &family{name: "unwedge_boot_ok", help: "1 if the boot ended as its scenario asks, 0 if not; no sample if there is no result."}
	outcome := &family{name: "unwedge_boot_outcome", help: "1 for how the boot ended."}
	stages := &family{name: "unwedge_stage_guest_seconds", unit: "seconds", help: "Guest time at which the agent first reported a stage."}
	stalls := &family{name: "unwedge_boot_stalls", help: "How often the boot stopped making progress."}
	found := &family{name: "unwedge_findings", help: "Reports of the kernel, by severity, without known ones."}
	diagnosed := &family{name: "unwedge_diagnosis_seconds", unit: "seconds", help: "Wall time from the last progress to the diagnosis."}
	for _, c := range s.Cells {
		if c.Bisection != nil {
			continue
		}
		who := []string{label("cell", c.Name), label("kernel", c.Release), label("arch", string(c.Scenario.Arch)), label("entropy", string(c.Scenario.Entropy)), label("initramfs", string(c.Scenario.Initramfs))}
		with := func(name, value string) []string { return append(who[:len(who):len(who)], label(name, value)) }
		r := c.Result
		if r == nil {
			outcome.add(with("outcome", c.Word()), 1)
			continue
		}
		who = with("accel", string(r.Host.Accel))
		boot.add(who, r.Times.Verdict.Seconds())
		ok.add(who, map[bool]float64{true: 1}[r.Expected])
		outcome.add(with("outcome", string(r.Outcome)), 1)
		stalls.add(who, float64(len(r.Stalls)))
		for _, severity := range []result.Severity{result.Fatal, result.Error, result.Warning, result.Note} {
			found.add(with("severity", string(severity)), count(r, severity))
		}
		seen := map[string]bool{}
		for _, rep := range r.Reports {
			if st := report.Safe(string(rep.Stage), 40); !seen[st] {
				seen[st] = true
				stages.add(with("stage", st), rep.Uptime)
			}
		}
		if t := r.Times; t.Stalled > 0 && t.Diagnosed > t.Stalled {
			diagnosed.add(who, (t.Diagnosed - t.Stalled).Seconds())
		}
	}
	var b strings.Builder
	for _, f := range []*family{boot, ok, outcome, stages, stalls, found, diagnosed} {
		if len(f.samples) == 0 {
			continue
		}
		fmt.Fprintf(&b, "# TYPE %s gauge\n", f.name)
		if f.unit != "" {
			fmt.Fprintf(&b, "# UNIT %s %s\n", f.name, f.unit)
		}
		fmt.Fprintf(&b, "# HELP %s %s\n%s\n", f.name, f.help, strings.Join(f.samples, "\n"))
	}
	b.WriteString("# EOF\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// count is how many findings of a severity count.
func count(r *result.Result, s result.Severity) float64 {
	n := 0
	for _, f := range r.Findings {
		if f.Severity == s && f.Known == nil {
			n++
		}
	}
	return float64(n)
}
