package formats_test

import (
	"bytes"
	"encoding/xml"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/unwedge/unwedge/harness/report"
	"github.com/unwedge/unwedge/harness/report/formats"
	"github.com/unwedge/unwedge/harness/report/kcidb"
	"github.com/unwedge/unwedge/harness/report/mail"
	"github.com/unwedge/unwedge/harness/report/summary"
	"github.com/unwedge/unwedge/images/trees"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"
)

var update = flag.Bool("update", false, "write the golden files anew")

var options = formats.Options{Version: "v1.2", KCIDB: kcidb.Options{Origin: "demo", Commit: strings.Repeat("ab", 20), Tree: "mainline", LogURL: "https://logs.example.org/x"}, Mail: mail.Options{Tree: mainline(), ConfigURL: "https://logs.example.org/config"}}

func mainline() trees.Tree {
	t, err := trees.Builtin().Find("mainline")
	if err != nil {
		panic(err)
	}
	return t
}

// write is a summary in a format.
func write(t *testing.T, name string, s summary.Summary) string {
	t.Helper()
	f, err := formats.Find(name)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := f.Write(&b, s, options); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestGolden(t *testing.T) {
	for _, f := range formats.All() {
		t.Run(f.Name, func(t *testing.T) {
			got := write(t, f.Name, sampleFor(f.Name))
			golden(t, "all."+f.Name, got)
		})
	}
}

// golden compares with a file, or writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs: go test -update, and look at the difference", path)
	}
}

// sampleFor is everything; of a mail, which reports one failure, a bisection and the
// failure.
func sampleFor(format string) summary.Summary {
	if format != "mail" {
		return all()
	}
	bad, good := locked(), boot("tiny", arch.AArch64, scenarios.VirtioRNG, scenarios.Tiny)
	return summary.Of([]summary.Cell{summary.OfResult(bad, ""), summary.OfResult(good, ""), summary.OfBisection(bisected())})
}

// What a guest prints must not act on a terminal, in whatever format it is read there.
func TestNothingActs(t *testing.T) {
	ours := map[string]*regexp.Regexp{ // what a format itself needs
		"gitlab": regexp.MustCompile("\x1b\\[0Ksection_(start|end):\\d+:unwedge_\\d+(\\[collapsed=(true|false)\\])?\r\x1b\\[0K|\x1b\\[[01]m"),
	}
	for _, f := range formats.All() {
		got := write(t, f.Name, sampleFor(f.Name))
		if re := ours[f.Name]; re != nil {
			got = re.ReplaceAllString(got, "")
		}
		if !utf8.ValidString(got) {
			t.Errorf("%s: not UTF-8", f.Name)
		}
		if i := strings.IndexFunc(got, func(r rune) bool {
			return r < 0x20 && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 || r == 0x202e || r == 0xfeff
		}); i >= 0 {
			t.Errorf("%s: a control character: %q", f.Name, got[max(0, i-40):i+10])
		}
	}
}

// What is read back from JSON makes the same reports, but for bytes that are no UTF-8.
func TestJSONIsReadAgain(t *testing.T) {
	before := summary.Of(slices.DeleteFunc(all().Cells, func(c summary.Cell) bool { return strings.HasPrefix(c.Scenario.Name, "init-waits") }))
	s, err := summary.Load([]string{"-"}, strings.NewReader(write(t, "json", before)))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"junit", "ktap", "markdown"} {
		if got, want := write(t, name, s), write(t, name, before); got != want {
			t.Errorf("%s of what was read again differs", name)
		}
	}
}

func TestJUnitIsXML(t *testing.T) {
	var doc struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Errors   int `xml:"errors,attr"`
		Skipped  int `xml:"skipped,attr"`
		Suites   []struct {
			Cases []struct {
				Class   string    `xml:"classname,attr"`
				Name    string    `xml:"name,attr"`
				Failure *struct { // GitLab shows the content only
					Message string `xml:"message,attr"`
					Text    string `xml:",chardata"`
				} `xml:"failure"`
				Other []struct {
					XMLName xml.Name
				} `xml:",any"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal([]byte(write(t, "junit", all())), &doc); err != nil {
		t.Fatal(err)
	}
	if doc.Tests != 13 || doc.Failures != 9 || doc.Errors != 1 || doc.Skipped != 1 {
		t.Errorf("counts: %d tests, %d failures, %d errors, %d skipped", doc.Tests, doc.Failures, doc.Errors, doc.Skipped)
	}
	seen := map[string]bool{}
	for _, s := range doc.Suites {
		for _, c := range s.Cases {
			if id := c.Class + "\x00" + c.Name; seen[id] {
				t.Errorf("two cases named %q", id)
			} else {
				seen[id] = true
			}
			if c.Failure != nil && !strings.HasPrefix(c.Failure.Text, c.Failure.Message+"\n") {
				t.Errorf("%s: the content does not begin with the title: %.80q", c.Name, c.Failure.Text)
			}
			for _, o := range c.Other {
				if n := o.XMLName.Local; n != "error" && n != "skipped" && n != "system-out" {
					t.Errorf("%s: element %s", c.Name, n)
				}
			}
		}
	}
}

// The rules of Documentation/dev-tools/ktap.rst.
func TestKTAPRules(t *testing.T) {
	lines := strings.Split(strings.TrimSuffix(write(t, "ktap", all()), "\n"), "\n")
	if lines[0] != "KTAP version 1" || lines[1] != "1..13" {
		t.Errorf("head: %q", lines[:2])
	}
	result := regexp.MustCompile(`^(ok|not ok) ([0-9]+) ([^#]*[^# ])( # ((SKIP|TIMEOUT|ERROR)( |$))?[^#]*)?$`)
	n := 0
	for _, l := range lines[2:] {
		if strings.HasPrefix(l, "# ") {
			continue
		}
		if n++; !result.MatchString(l) || result.FindStringSubmatch(l)[2] != itoa(n) {
			t.Errorf("line %d of the results: %q", n, l)
		}
	}
	if n != 13 {
		t.Errorf("%d results", n)
	}
}

func itoa(n int) string {
	return strings.TrimPrefix(string(rune('0'+n/10))+string(rune('0'+n%10)), "0")
}

// The rules of OpenMetrics 1.0: families stand together, no sample is there twice, and
// # EOF ends the text.
func TestOpenMetricsRules(t *testing.T) {
	text := write(t, "openmetrics", all())
	if !strings.HasSuffix(text, "\n# EOF\n") || strings.Count("\n"+text, "\n# EOF\n") != 1 {
		t.Error("no # EOF at the end, or two")
	}
	sample := regexp.MustCompile(`^([a-z_]+)\{([a-z]+="(?:[^"\\]|\\["\\n])*"(?:,[a-z]+="(?:[^"\\]|\\["\\n])*")*)\} [0-9.e+-]+$`)
	family, seen := "", map[string]bool{}
	for _, l := range strings.Split(strings.TrimSuffix(text, "\n# EOF\n"), "\n") {
		if name, ok := strings.CutPrefix(l, "# TYPE "); ok {
			if family = strings.TrimSuffix(name, " gauge"); seen[family] {
				t.Errorf("family %s stands in two places", family)
			}
			seen[family] = true
			continue
		}
		if strings.HasPrefix(l, "# UNIT "+family+" ") && strings.HasSuffix(family, "_seconds") || strings.HasPrefix(l, "# HELP "+family+" ") {
			continue
		}
		m := sample.FindStringSubmatch(l)
		if m == nil || m[1] != family {
			t.Fatalf("no sample of %s: %q", family, l)
		}
		if key := m[1] + m[2]; seen[key] {
			t.Errorf("twice: %q", l)
		} else {
			seen[key] = true
		}
	}
}

func TestGitHubLimits(t *testing.T) {
	var cells []summary.Cell
	for range 400 {
		cells = append(cells, summary.OfResult(hostile(), ""), summary.OfResult(unclean(), ""))
	}
	s := summary.Of(cells)
	if n := len(write(t, "github", s)); n > 1<<20 {
		t.Errorf("a step summary of %d bytes is dropped by GitHub", n)
	}
	notes := strings.Split(strings.TrimSuffix(write(t, "github-annotations", s), "\n"), "\n")
	kinds := map[string]int{}
	command := regexp.MustCompile(`^::(error|warning) title=[^:,\r\n]*::[^\r\n]*$`)
	for _, l := range notes {
		m := command.FindStringSubmatch(l)
		if m == nil {
			t.Fatalf("no workflow command: %q", l)
		}
		kinds[m[1]]++
	}
	if kinds["error"] != 10 || kinds["warning"] != 10 {
		t.Errorf("annotations: %v", kinds)
	}
	if last := notes[9]; !strings.Contains(last, "391 more failures") {
		t.Errorf("the tenth: %q", last)
	}
}

// Outside code spans and fenced blocks no byte of Markdown is a guest's.
func TestMarkdownGuestsAreInCode(t *testing.T) {
	text := write(t, "markdown", all())
	text = regexp.MustCompile("(?ms)^(`{3,})text\n.*?^`{3,}$").ReplaceAllString(text, "")
	if strings.Contains(text, "```text") {
		t.Fatal("a fence that does not end")
	}
	var out strings.Builder
	for len(text) > 0 { // code spans: a run of back quotes, ended by a run of the same length
		i := strings.IndexByte(text, '`')
		if i < 0 {
			break
		}
		out.WriteString(text[:i])
		n := len(text[i:]) - len(strings.TrimLeft(text[i:], "`"))
		rest := text[i+n:]
		end := -1
		for at := 0; at < len(rest); {
			j := strings.IndexByte(rest[at:], '`')
			if j < 0 {
				break
			}
			at += j
			run := len(rest[at:]) - len(strings.TrimLeft(rest[at:], "`"))
			if run == n {
				end = at + run
				break
			}
			at += run
		}
		if end < 0 {
			t.Fatalf("a code span does not end: %.80q", rest)
		}
		text = rest[end:]
	}
	for _, bad := range []string{"<script", "<img", "javascript:", "@example", "**bold**", "onerror"} {
		if strings.Contains(out.String()+text, bad) {
			t.Errorf("%q is outside of code", bad)
		}
	}
}

func TestFind(t *testing.T) {
	if _, err := formats.Find("xls"); err == nil || !strings.Contains(err.Error(), "junit") {
		t.Errorf("an unknown format: %v", err)
	}
}

func mustJSON(v any) string {
	var b strings.Builder
	if err := report.JSON(&b, v); err != nil {
		panic(err)
	}
	return b.String()
}
