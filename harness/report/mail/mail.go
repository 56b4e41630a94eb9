// Package mail writes a regression report as the kernel's own documents ask for it:
// Documentation/admin-guide/reporting-issues.rst and reporting-regressions.rst. It is
// complete but for its sender, and `git send-email` takes it as it is.
package mail

import (
	"fmt"
	"io"
	"mime"
	"regexp"
	"strings"

	"github.com/unwedge/unwedge/harness/bisect"
	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/report"
	"github.com/unwedge/unwedge/harness/report/summary"
	"github.com/unwedge/unwedge/images/trees"
)

// Options are what the Results do not know.
type Options struct {
	// Tree is where the kernel is from; the zero value if that is not known.
	Tree trees.Tree
	// LastGood is a revision that boots, "" for what the Results show.
	LastGood string
	// To are the addresses of whom the failing code belongs to.
	To []string
	// ConfigURL and LogURL are where the kernel's .config and the runs' directories were
	// uploaded to; "" if nowhere.
	ConfigURL, LogURL string
}

// regressions is the list that every regression is reported to, stable the one for
// stable series, general the one for what has no other.
const (
	regressions = "regressions@lists.linux.dev"
	stable      = "stable@vger.kernel.org"
	general     = "linux-kernel@vger.kernel.org"
)

// issue is what a mail is about: one failure.
type issue struct {
	Options
	bad      summary.Cell   // the boot that failed; without a Result where there is a bisection alone
	bisected *bisect.Report // nil if there was no bisection
	lastGood string
	firstBad string
	seenGood bool // lastGood was booted, in the same guest
}

// Write writes the mail. The notes say what the user should do before it is sent.
func Write(w io.Writer, s summary.Summary, o Options) (notes []string, err error) {
	i, err := find(s, o)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	i.head(&b)
	i.body(&b)
	if _, err := io.WriteString(w, b.String()); err != nil {
		return nil, fmt.Errorf("write mail: %w", err)
	}
	return i.notes(), nil
}

// find finds the one failure, and the good kernel beside it.
func find(s summary.Summary, o Options) (*issue, error) {
	i := &issue{Options: o, lastGood: o.LastGood}
	titles := map[string]bool{}
	for _, c := range s.Cells {
		switch {
		case c.Bisection != nil && i.bisected == nil:
			i.bisected = c.Bisection
		case c.Status == summary.Fail && c.Result != nil:
			titles[signature(c)] = true
			if i.bad.Result == nil {
				i.bad = c
			}
		}
	}
	switch {
	case i.bad.Result == nil && i.bisected == nil:
		return nil, usage.Errorf("write mail: nothing failed: name the run of a failure")
	case len(titles) > 1:
		return nil, usage.Errorf("write mail: %d different failures: a mail reports one: name its runs alone", len(titles))
	}
	i.ends(s)
	return i, nil
}

func signature(c summary.Cell) string {
	if d := c.Result.Diagnosis; d != nil && d.Signature != "" {
		return d.Signature
	}
	return c.Title()
}

// ends finds the first bad and the last good kernel.
func (i *issue) ends(s summary.Summary) {
	if b := i.bisected; b != nil {
		if b.First != nil {
			i.firstBad = b.First.Name
		}
		if b.LastGood != nil && i.lastGood == "" {
			i.lastGood, i.seenGood = b.LastGood.Name, true
		}
		return
	}
	i.firstBad = i.bad.Release
	for _, c := range s.Cells {
		if i.lastGood == "" && c.Status == summary.Pass && c.Scenario.Name == i.bad.Scenario.Name && c.Release != i.bad.Release {
			i.lastGood, i.seenGood = c.Release, true
		}
	}
}

func (i *issue) title() string {
	if i.bad.Result != nil {
		return plain(i.bad.Title())
	}
	return plain(i.bisected.Failure.Title)
}

// head is the header: those who must see it, and the subject.
func (i *issue) head(b *strings.Builder) {
	to := i.To
	if len(to) == 0 && i.Tree.List != "" {
		to = []string{i.Tree.List}
	}
	if len(to) == 0 {
		to = []string{general}
	}
	cc := []string{regressions}
	if i.Tree.Name == "stable" || i.Tree.Name == "stable-rc" {
		cc = append(cc, stable)
	}
	if i.Tree.List != "" {
		cc = append(cc, i.Tree.List)
	}
	if c := i.commit(); c != nil && c.Author != "" {
		to = append([]string{c.Author}, to...)
	}
	seen := map[string]bool{}
	addresses(b, "To", to, seen)
	addresses(b, "Cc", cc, seen)
	fmt.Fprintf(b, "Subject: %s\n", encoded("[REGRESSION] "+i.title()))
	b.WriteString("MIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\nContent-Transfer-Encoding: 8bit\n\n")
}

func (i *issue) commit() *bisect.Commit {
	if i.bisected == nil {
		return nil
	}
	return i.bisected.Commit
}

var release = regexp.MustCompile(`^\d+\.\d+(\.\d+)?(-rc\d+)?(-next-\d{8})?(-\d{5}-g[0-9a-f]{7,})?(-dirty|\+)?$`)

// vanilla says whether a release is one of kernel.org's, by its name.
func vanilla(r string) bool { return release.MatchString(r) }

var commitID = regexp.MustCompile(`^[0-9a-f]{12,40}$`)

// introduced is what regzbot is told: the commit, or the range. It is empty where it
// is not known, or where the bot does not track the tree.
func (i *issue) introduced() string {
	if !i.Tree.Regzbot {
		return ""
	}
	if b := i.bisected; b != nil && b.First != nil && commitID.MatchString(b.First.ID) {
		return b.First.ID[:12]
	}
	good, bad := revision(i.lastGood), revision(i.firstBad)
	if good == "" || bad == "" {
		return ""
	}
	return good + ".." + bad
}

var versionName = regexp.MustCompile(`^v?(\d+\.\d+(\.\d+)?(-rc\d+)?)$`)

// revision is a release as its tag: mainline's 6.12.0 is v6.12, and 6.12.0-rc3 v6.12-rc3.
func revision(r string) string {
	if commitID.MatchString(r) || strings.HasPrefix(r, "next-") {
		return r
	}
	m := versionName.FindStringSubmatch(r)
	if m == nil {
		return ""
	}
	return "v" + zeroth.ReplaceAllString(m[1], "$1$2")
}

var zeroth = regexp.MustCompile(`^(\d+\.\d+)\.0(-rc\d+)?$`)

// notes say what is missing.
func (i *issue) notes() []string {
	var out []string
	if len(i.To) == 0 {
		hint := "scripts/get_maintainer.pl -f FILE, in the kernel's tree"
		if c := i.commit(); c != nil && i.bisected.First != nil {
			hint = "git show " + i.bisected.First.Name + " | scripts/get_maintainer.pl"
		}
		out = append(out, "the recipients are not complete: add those of "+hint+", or name the tree with --source")
	}
	switch {
	case i.Tree.Name == "":
		out = append(out, "regzbot is not told: name the kernel's tree with --tree")
	case !i.Tree.Regzbot:
		out = append(out, "regzbot is not told: it does not track the tree "+i.Tree.Name)
	case i.introduced() == "":
		out = append(out, "regzbot is not told: name a release that boots with --last-good")
	}
	if i.ConfigURL == "" {
		out = append(out, "upload the kernel's .config, and name it with --config-url")
	}
	if i.LogURL == "" {
		out = append(out, "upload the run's directory, and name it with --log-url")
	}
	if r := i.bad.Release; r != "" && !vanilla(r) {
		out = append(out, report.Safe(r, 80)+" does not look like a kernel of kernel.org: reproduce it there, or report it to whom the kernel is from")
	}
	if i.bad.Result != nil && i.bad.Ours() {
		out = append(out, "the diagnosis blames how the guest was set up, or the host, and not the kernel: do not send this before that is ruled out")
	}
	return out
}

// plain is a guest's text for a mail: safe, and no command of regzbot's.
func plain(s string) string { return regzbot.ReplaceAllString(report.Safe(s, 400), "$1") }

var regzbot = regexp.MustCompile(`(?i)#+\s*(regzbot)`)

// encoded is a header's text, as RFC 2047 asks.
func encoded(s string) string { return mime.QEncoding.Encode("utf-8", s) }
