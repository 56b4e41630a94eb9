// Package kcidb writes what KernelCI's common report database takes (schema 5.3 of
// kernelci/kcidb-io): checkouts, builds and tests, and for each failure an issue, whose
// ID is made from the failure's signature, and an incident.
package kcidb

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/report"
	"github.com/unwedge/unwedge/harness/report/summary"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/scenarios"
)

// Options are what the Results do not know.
type Options struct {
	// Origin is the name of the system that reports, in lower-case letters, digits and
	// _; "" for DefaultOrigin.
	Origin string
	// GitURL, Commit (40 hex digits), Branch and Tree say what was checked out to build
	// the kernel; each may be empty. Only https URLs are taken.
	GitURL, Commit, Branch, Tree string
	// LogURL is where the runs' directories were uploaded to; "" if nowhere.
	LogURL string
}

// DefaultOrigin is for a server of one's own: KernelCI gives each origin its name and
// its token.
const DefaultOrigin = "unwedge"

// maxExcerpt bounds a log_excerpt, in characters.
const maxExcerpt = 16384

var (
	originPattern = regexp.MustCompile(`^[a-z0-9_]+$`)
	commitPattern = regexp.MustCompile(`^[0-9a-f]{40}$`)
)

// Check says what is wrong with the options, as a usage.Error.
func (o Options) Check() error {
	switch {
	case o.Origin != "" && !originPattern.MatchString(o.Origin):
		return usage.Errorf("--origin %q: use lower-case letters, digits and _", o.Origin)
	case o.Commit != "" && !commitPattern.MatchString(o.Commit):
		return usage.Errorf("--commit %q: give all 40 hex digits: git rev-parse REV", o.Commit)
	case o.GitURL != "" && !strings.HasPrefix(o.GitURL, "https://"):
		return usage.Errorf("--git-url %q: KCIDB takes https:// only", o.GitURL)
	case o.LogURL != "" && !strings.HasPrefix(o.LogURL, "https://") && !strings.HasPrefix(o.LogURL, "http://"):
		return usage.Errorf("--log-url %q: give an https:// URL", o.LogURL)
	default:
		return nil
	}
}

// Write writes the document.
func Write(w io.Writer, s summary.Summary, o Options) error {
	if err := o.Check(); err != nil {
		return err
	}
	return report.JSON(w, Of(s, o))
}

// maker collects the objects; what has the same ID is the same object.
type maker struct {
	Options
	doc  Document
	seen map[string]bool
}

// Of makes the document of a summary. Bisections are left out: KCIDB knows none.
func Of(s summary.Summary, o Options) Document {
	if o.Origin == "" {
		o.Origin = DefaultOrigin
	}
	m := &maker{Options: o, doc: Document{Version: Version{5, 3}}, seen: map[string]bool{}}
	for _, c := range s.Cells {
		if c.Bisection == nil {
			m.cell(c)
		}
	}
	return m.doc
}

// id is an object's ID: the same parts give the same one, in each submission.
func (m *maker) id(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return m.Origin + ":" + hex.EncodeToString(sum[:16])
}

func (m *maker) fresh(id string) bool {
	was := m.seen[id]
	m.seen[id] = true
	return !was
}

func (m *maker) cell(c summary.Cell) {
	kernel := result.Kernel{Release: c.Release}
	var started time.Time
	if c.Result != nil {
		kernel, started = c.Result.Kernel, c.Result.Times.Started
	}
	checkout := m.id("checkout", m.GitURL, m.Commit, c.Release)
	if m.fresh(checkout) {
		m.doc.Checkouts = append(m.doc.Checkouts, Checkout{
			ID: checkout, Origin: m.Origin, Tree: m.Tree, URL: m.GitURL, Commit: m.Commit, CommitName: clean(c.Release), Branch: m.Branch, Valid: ptr(true),
		})
	}
	build := m.id("build", kernel.BuildID, kernel.SHA256, c.Release, string(c.Scenario.Arch))
	if m.fresh(build) {
		m.doc.Builds = append(m.doc.Builds, Build{
			ID: build, Origin: m.Origin, Checkout: checkout, Architecture: string(c.Scenario.Arch), Status: "PASS",
			Misc: map[string]any{"build_id": kernel.BuildID, "sha256": kernel.SHA256, "format": kernel.Format},
		})
	}
	m.test(c, build, started)
}

func (m *maker) test(c summary.Cell, build string, started time.Time) {
	id := m.id("test", build, c.Name, stamp(started))
	t := Test{ID: id, Origin: m.Origin, Build: build, Path: path(c.Scenario), Status: status(c), Comment: clean(c.Title())}
	t.Environment = &Environment{Comment: "QEMU", Misc: map[string]any{"platform": "qemu-" + string(c.Scenario.Arch)}}
	t.Misc = map[string]any{"scenario": c.Scenario.Name, "entropy": c.Scenario.Entropy, "initramfs": c.Scenario.Initramfs}
	if r := c.Result; r != nil {
		t.Started, t.Duration = stamp(started), r.Times.Wall.Seconds()
		t.Number = &Number{Value: r.Times.Verdict.Seconds(), Unit: "s", Prefix: "metric"}
		t.Excerpt = excerpt(c)
		t.LogURL = m.logURL(c)
		t.Environment.Comment = "QEMU " + clean(r.Host.QEMUVersion) + ", " + clean(string(r.Host.Accel))
		t.Misc["accel"], t.Misc["outcome"], t.Misc["stage"], t.Misc["unclean"] = r.Host.Accel, r.Outcome, clean(string(r.Stage)), r.Unclean
		t.Misc["cmdline"], t.Misc["unwedge"] = clean(r.Host.Cmdline), r.Version
		if d := r.Diagnosis; d != nil {
			t.Misc["cause"], t.Misc["where"], t.Misc["confidence"], t.Misc["summary"] = d.Cause, d.Where, d.Confidence, clean(d.Summary)
		}
	}
	m.doc.Tests = append(m.doc.Tests, t)
	if c.Status == summary.Fail || knownFailure(c) {
		m.issue(c, id)
	}
}

// issue is the failure as such, and this time that it happened. Its ID is its
// signature's, so that the same failure of another kernel is the same issue.
func (m *maker) issue(c summary.Cell, test string) {
	signature, title := "", c.Title()
	where := result.WhereUnknown
	if d := c.Result.Diagnosis; d != nil {
		signature, where, title = d.Signature, d.Where, d.Title
	}
	if signature == "" {
		signature = "title/" + title
	}
	id := m.id("issue", signature)
	if m.fresh(id) {
		m.doc.Issues = append(m.doc.Issues, Issue{
			ID: id, Version: 1, Origin: m.Origin, Subject: clean(title), Categories: []string{"runtime.boot"},
			Culprit: culprit(where), Misc: map[string]any{"signature": clean(signature)},
		})
	}
	m.doc.Incidents = append(m.doc.Incidents, Incident{
		ID: m.id("incident", test, id), Origin: m.Origin, Issue: id, IssueVersion: 1, Test: test, Present: ptr(true), Comment: clean(title),
	})
}

// culprit is nil where it is not known: with nothing to blame an issue is not valid.
func culprit(w result.Where) *Culprit {
	switch w {
	case result.WhereKernel:
		return &Culprit{Code: true}
	case result.WhereHarness, result.WhereHost:
		return &Culprit{Harness: true}
	case result.WhereInitramfs, result.WhereUserspace:
		return &Culprit{Tool: true}
	default:
		return nil
	}
}

// status is FAIL for the kernel, ERROR for a test that was set up wrong, and MISS for a
// harness that failed.
func status(c summary.Cell) string {
	switch {
	case c.Status == summary.Pass:
		return "PASS"
	case c.Status == summary.Skip && !knownFailure(c):
		return "SKIP"
	case c.Status == summary.Error:
		return "MISS"
	case c.Ours():
		return "ERROR"
	default:
		return "FAIL"
	}
}

// knownFailure says that this system does not count the failure; KernelCI does.
func knownFailure(c summary.Cell) bool { return c.Result != nil && c.Result.KnownFailure != nil }

var unfit = regexp.MustCompile(`[^a-zA-Z0-9_-]+`)

// path is what the dashboard's history of a test goes by: "boot.distro.none.dracut-fips".
// The architecture is the build's.
func path(sc scenarios.Scenario) string {
	p := "boot"
	for _, part := range strings.Split(sc.Name, "/") {
		if part = strings.Trim(unfit.ReplaceAllString(part, "_"), "_"); part != "" && part != string(sc.Arch) {
			p += "." + part
		}
	}
	return p
}

// excerpt is the end of the console.
func excerpt(c summary.Cell) string {
	log, err := c.Console(0, 400)
	if err != nil {
		return ""
	}
	var lines []string
	for _, l := range log.Lines {
		lines = append(lines, l.Text)
	}
	text := []rune(strings.Join(lines, "\n"))
	return string(text[max(0, len(text)-maxExcerpt):])
}

// logURL is where the console was uploaded to, below the name of the run's directory.
func (m *maker) logURL(c summary.Cell) string {
	if m.LogURL == "" || c.Dir == "" {
		return ""
	}
	return consoleURL(m.LogURL, c.Dir)
}

// clean is a text without what the schema's patterns forbid.
func clean(s string) string { return report.Safe(s, 2000) }

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000000-07:00")
}

func ptr[T any](v T) *T { return &v }

// Marshal is the document as it is submitted.
func (d Document) Marshal() ([]byte, error) {
	b, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("write KCIDB document: %w", err)
	}
	return b, nil
}
