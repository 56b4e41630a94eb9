package dump

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/scenarios/arch"
)

var update = flag.Bool("update", false, "rewrite the golden files under testdata")

// summary is what the golden files keep: every task in one line, so that a
// change shows as a readable diff.
type summary struct {
	Arch     arch.Arch
	Stage    Stage
	Kernels  []string
	Sections []sectionSummary `json:",omitempty"`
	Loose    []string         `json:",omitempty"`
	Reports  []string         `json:",omitempty"`
	Owners   []model.Owner    `json:",omitempty"`
	Held     []string         `json:",omitempty"`
	Events   []string         `json:",omitempty"`
}

type sectionSummary struct {
	Kind     SectionKind
	Complete bool
	Ending   string `json:",omitempty"`
	Tasks    []string
}

func taskLine(t model.Task) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s ppid=%d", t.String(), t.State, t.PPID)
	if t.TGID != 0 {
		fmt.Fprintf(&b, " tgid=%d", t.TGID)
	}
	if t.CPU >= 0 {
		fmt.Fprintf(&b, " cpu=%d", t.CPU)
	}
	for _, m := range []struct {
		on   bool
		name string
	}{{t.KernelThread, "kthread"}, {t.Running, "running"}, {t.Torn, "torn"}} {
		if m.on {
			b.WriteString(" " + m.name)
		}
	}
	if t.Workqueue != "" {
		b.WriteString(" wq=" + t.Workqueue)
	}
	if s := t.Syscall; s != nil {
		fmt.Fprintf(&b, " %s/%d%x", s.Name, s.Nr, s.Args)
	}
	b.WriteString(":")
	for _, f := range t.Chain() {
		b.WriteString(" " + f.Func)
		if f.Module != "" {
			b.WriteString("[" + f.Module + "]")
		}
	}
	return b.String()
}

func summarise(d *Dump) summary {
	s := summary{Arch: d.Arch, Stage: d.Boot.Stage, Owners: d.Owners}
	for _, k := range d.Boot.Kernels {
		s.Kernels = append(s.Kernels, k.Release)
	}
	for _, sec := range d.Sections {
		ss := sectionSummary{Kind: sec.Kind, Complete: sec.Complete, Ending: sec.Ending}
		for _, t := range sec.Tasks {
			ss.Tasks = append(ss.Tasks, taskLine(t))
		}
		s.Sections = append(s.Sections, ss)
	}
	for _, t := range d.Loose {
		s.Loose = append(s.Loose, taskLine(t))
	}
	for _, r := range d.Reports {
		s.Reports = append(s.Reports, fmt.Sprintf("%s: %s | func=%s ip=%s comm=%s pid=%d cpu=%d frames=%d seconds=%d boot=%d",
			r.Kind, r.Title, r.Func, r.IP, r.Comm, r.PID, r.CPU, len(r.Frames), r.Seconds, r.Boot))
	}
	for _, h := range d.Held {
		line := fmt.Sprintf("%s/%d:", h.Comm, h.PID)
		for _, l := range h.Locks {
			line += fmt.Sprintf(" %s(%s)@%s", l.Addr, l.Name, l.At)
		}
		s.Held = append(s.Held, line)
	}
	for _, e := range d.Boot.Events {
		s.Events = append(s.Events, fmt.Sprintf("%s %q elapsed=%q limit=%q count=%d boot=%d", e.Kind, e.Subject, e.Elapsed, e.Limit, e.Count, e.Boot))
	}
	return s
}

// TestGolden reads every log under testdata: those in real/ were printed by
// Debian kernels in QEMU, those in written/ are written after the formats that
// older and other kernels print.
func TestGolden(t *testing.T) {
	logs, err := filepath.Glob("testdata/*/*.log")
	if err != nil || len(logs) == 0 {
		t.Fatalf("no logs: %v", err)
	}
	for _, path := range logs {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".log"), func(t *testing.T) {
			log, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var buf bytes.Buffer
			enc := json.NewEncoder(&buf)
			enc.SetEscapeHTML(false)
			enc.SetIndent("", " ")
			if err := enc.Encode(summarise(Parse(log))); err != nil {
				t.Fatal(err)
			}
			got := buf.Bytes()
			golden := strings.TrimSuffix(path, ".log") + ".json"
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
