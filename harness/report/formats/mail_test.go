package formats_test

import (
	"bytes"
	netmail "net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/harness/report/mail"
	"github.com/unwedge/unwedge/harness/report/summary"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/images/trees"
)

func mailOf(t *testing.T, o mail.Options, cells ...summary.Cell) (text string, notes []string) {
	t.Helper()
	var b bytes.Buffer
	notes, err := mail.Write(&b, summary.Of(cells), o)
	if err != nil {
		t.Fatal(err)
	}
	return b.String(), notes
}

func cellOf(r *result.Result) summary.Cell { return summary.OfResult(r, r.Dir) }

func tree(t *testing.T, name string) trees.Tree {
	t.Helper()
	tr, err := trees.Builtin().Find(name)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func TestMailTellsRegzbot(t *testing.T) {
	good := locked()
	good.Outcome, good.Expected, good.Diagnosis, good.Kernel.Release = "booted", true, nil, "6.11.0"
	bad := locked()
	bad.Kernel.Release = "6.12.0-rc3"
	for name, c := range map[string]struct {
		tree  string
		cells []summary.Cell
		want  string
	}{
		"a range":                     {"mainline", []summary.Cell{cellOf(bad), cellOf(good)}, "v6.11..v6.12-rc3"},
		"a commit":                    {"mainline", []summary.Cell{summary.OfBisection(bisected())}, "666666666666"},
		"no last good":                {"mainline", []summary.Cell{cellOf(bad)}, ""},
		"a tree that is not tracked":  {"net-next", []summary.Cell{cellOf(bad), cellOf(good)}, ""},
		"a distribution's own kernel": {"mainline", []summary.Cell{cellOf(entropy())}, ""},
	} {
		text, notes := mailOf(t, mail.Options{Tree: tree(t, c.tree)}, c.cells...)
		told := strings.Contains(text, "\n\n#regzbot introduced: "+c.want+"\n\n#regzbot title: ")
		if c.want == "" {
			told = !strings.Contains(text, "#regzbot")
		}
		if !told {
			t.Errorf("%s: want %q in\n%s", name, c.want, text)
		}
		if said := strings.Contains(strings.Join(notes, "\n"), "regzbot is not told"); said != (c.want == "") {
			t.Errorf("%s: notes %q", name, notes)
		}
	}
}

// A guest forges neither a header nor a command, wherever the line breaks.
func TestMailOfAHostileGuest(t *testing.T) {
	text, _ := mailOf(t, mail.Options{Tree: tree(t, "stable"), LastGood: "6.11.1"}, cellOf(hostile()))
	m, err := netmail.ReadMessage(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for h := range m.Header {
		if !strings.Contains(" To Cc Subject Mime-Version Content-Type Content-Transfer-Encoding ", " "+h+" ") {
			t.Errorf("header %s", h)
		}
	}
	for l := range strings.Lines(text) {
		if strings.HasPrefix(strings.ToLower(l), "#regzbot") || strings.HasPrefix(l, "From ") || len(l) > 998 {
			t.Errorf("line %.100q", l)
		}
	}
}

func TestMailIsAboutOneFailure(t *testing.T) {
	for _, cells := range [][]summary.Cell{{cellOf(entropy()), cellOf(locked())}, {cellOf(unclean())}} {
		if notes, err := mail.Write(&bytes.Buffer{}, summary.Of(cells), mail.Options{}); err == nil {
			t.Errorf("%d cells: a mail, notes %q", len(cells), notes)
		}
	}
}

// git takes the mail as it is.
func TestMailGitSendEmail(t *testing.T) {
	if out, err := exec.CommandContext(t.Context(), "git", "send-email", "-h").CombinedOutput(); err != nil && !strings.Contains(string(out), "--dry-run") {
		t.Skip("git send-email is not here: apt-get install git-email")
	}
	path := filepath.Join(t.TempDir(), "mail.txt")
	if err := os.WriteFile(path, []byte(write(t, "mail", sampleFor("mail"))), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "git", "send-email", "--dry-run", "--from=me@example.org", "--confirm=never", "--smtp-server=/bin/true", path)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "EMAIL=me@example.org", "GIT_COMMITTER_NAME=me", "GIT_COMMITTER_EMAIL=me@example.org")
	out, err := cmd.CombinedOutput()
	if strings.Contains(string(out), "'Mail::Address' module is not here") {
		t.Skip("git send-email lacks a module: apt-get install libmailtools-perl")
	}
	if err != nil {
		t.Fatalf("git send-email: %v\n%s", err, out)
	}
	for _, want := range []string{"Subject: [REGRESSION] hang: init waits in flock", "regressions@lists.linux.dev", "author@example.org", "Result: OK"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}
