package formats

import (
	"encoding/xml"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/unwedge/unwedge/harness/report"
	"github.com/unwedge/unwedge/harness/report/summary"
	"github.com/unwedge/unwedge/harness/rundir"
)

// The elements and attributes that GitLab, Jenkins and the GitHub actions read. GitLab
// drops message and type, and shows the content; Jenkins and the actions read both.
type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Skipped  int          `xml:"skipped,attr"`
	Time     string       `xml:"time,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name      string      `xml:"name,attr"`
	Tests     int         `xml:"tests,attr"`
	Failures  int         `xml:"failures,attr"`
	Errors    int         `xml:"errors,attr"`
	Skipped   int         `xml:"skipped,attr"`
	Time      string      `xml:"time,attr"`
	Timestamp string      `xml:"timestamp,attr,omitempty"`
	Cases     []junitCase `xml:"testcase"`
}

type junitCase struct {
	ClassName string       `xml:"classname,attr"`
	Name      string       `xml:"name,attr"`
	Time      string       `xml:"time,attr"`
	Failure   *junitFault  `xml:"failure"`
	Error     *junitFault  `xml:"error"`
	Skipped   *junitFault  `xml:"skipped"`
	Output    *junitOutput `xml:"system-out"`
}

type junitFault struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr,omitempty"`
	Text    string `xml:",chardata"`
}

type junitOutput struct {
	Text string `xml:",chardata"`
}

// junitConsole is how many of the console's last lines a failed case has. GitLab takes
// 30 MB a file: ten thousand cells stay below that by maxJUnitText.
const (
	junitConsole = 100
	maxJUnitText = 24 << 20
)

// junit writes one suite for each kernel. What GitLab takes for a case's identity is
// class name and name: both are the same in each run.
func junit(w io.Writer, s summary.Summary, _ Options) error {
	all := junitSuites{Name: "unwedge"}
	var took time.Duration
	room := maxJUnitText
	for _, c := range s.Cells {
		suite := all.suite(c)
		suite.add(junitOf(c, suite.Name, &room), c)
		took += c.Took()
	}
	for _, suite := range all.Suites {
		all.Tests += suite.Tests
		all.Failures += suite.Failures
		all.Errors += suite.Errors
		all.Skipped += suite.Skipped
	}
	all.Time = junitTime(took)
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(all); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// suite is the suite of the cell's kernel, made where it is not there.
func (a *junitSuites) suite(c summary.Cell) *junitSuite {
	name := "unwedge"
	if c.Release != "" {
		name += " " + c.Release
	}
	for i := range a.Suites {
		if a.Suites[i].Name == name {
			return &a.Suites[i]
		}
	}
	suite := junitSuite{Name: name, Time: junitTime(0)}
	if c.Result != nil && !c.Result.Times.Started.IsZero() {
		suite.Timestamp = c.Result.Times.Started.UTC().Format("2006-01-02T15:04:05")
	}
	a.Suites = append(a.Suites, suite)
	return &a.Suites[len(a.Suites)-1]
}

func (s *junitSuite) add(k junitCase, c summary.Cell) {
	s.Cases = append(s.Cases, k)
	s.Tests++
	switch c.Status {
	case summary.Fail:
		s.Failures++
	case summary.Error:
		s.Errors++
	case summary.Skip:
		s.Skipped++
	case summary.Pass:
	}
	var took time.Duration
	for _, k := range s.Cases {
		d, _ := time.ParseDuration(k.Time + "s") // junitTime made it
		took += d
	}
	s.Time = junitTime(took)
}

func junitTime(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }

// junitOf makes a case, with the title as the message and as the first line of the
// content. Its console is left out where there is no room.
func junitOf(c summary.Cell, class string, room *int) junitCase {
	k := junitCase{ClassName: strings.ReplaceAll(class, " ", "."), Name: c.Name, Time: junitTime(c.Took())}
	text := c.Title() + "\n\n" + c.Text()
	if *room -= len(text); *room < 0 {
		text = c.Title()
	}
	fault := &junitFault{Message: c.Title(), Text: text}
	switch c.Status {
	case summary.Fail:
		fault.Type = kind(c)
		k.Failure = fault
	case summary.Error:
		fault.Type = "harness"
		k.Error = fault
	case summary.Skip:
		k.Skipped = &junitFault{Message: c.Title()}
		return k
	case summary.Pass:
	}
	k.Output = &junitOutput{junitOut(c, room)}
	return k
}

// kind is what sort of failure it is: the cause, else the outcome.
func kind(c summary.Cell) string {
	if c.Result != nil && c.Result.Diagnosis != nil {
		return report.Safe(string(c.Result.Diagnosis.Cause), 80)
	}
	return c.Word()
}

// junitOut is the report of a boot that passed, the end of the console of one that did
// not, and the files that GitLab links to.
func junitOut(c summary.Cell, room *int) string {
	var b strings.Builder
	if c.Status == summary.Pass {
		b.WriteString(c.Text())
	} else if log, err := c.Console(0, junitConsole); err == nil && len(log.Lines) > 0 {
		b.WriteString("the end of the console:\n")
		for _, l := range log.Lines {
			b.WriteString(l.Text + "\n")
		}
	}
	if *room -= b.Len(); *room < 0 {
		b.Reset()
	}
	if c.Dir != "" && c.Result != nil {
		fmt.Fprintf(&b, "[[ATTACHMENT|%s]]\n", filepath.Join(c.Dir, rundir.Console))
	}
	return b.String()
}
