package formats_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/harness/internal/bisect/trial"
	"github.com/unwedge/unwedge/harness/report/mail"
	"github.com/unwedge/unwedge/harness/report/summary"
	"github.com/unwedge/unwedge/images/candidate"
)

// series is the Debian source package whose programs are asked.
const series = "6.1"

// TestRealPrograms holds reports against the programs of a kernel's source that read
// such: kunit_parser.py, get_maintainer.pl with MAINTAINERS, decode_stacktrace.sh and
// checkpatch.pl of Debian's linux-source-6.1, with the network:
//
//	UNWEDGE_TEST_ARCHIVE=1 go test -run TestRealPrograms -v ./harness/report/formats
func TestRealPrograms(t *testing.T) {
	if os.Getenv("UNWEDGE_TEST_ARCHIVE") == "" {
		t.Skip("set UNWEDGE_TEST_ARCHIVE to fetch Debian's linux-source-" + series)
	}
	src, err := candidate.ArchiveSource(t.Context(), series, "", "", candidate.Options{})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	top := "linux-source-" + series + "/"
	run(t, dir, "", "tar", "-xf", src.Tarball, "--strip-components=1", top+"tools/testing/kunit", top+"scripts", top+"MAINTAINERS", top+"drivers/char/random.c")
	for _, d := range []string{"Documentation", "arch", "include", "fs", "init", "ipc", "kernel", "lib"} { // by these get_maintainer.pl knows a tree
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{"COPYING", "CREDITS", "Kbuild", "Makefile", "README"} {
		if err := os.WriteFile(filepath.Join(dir, f), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run(t, dir, "", "git", "init", "--quiet") // a function is looked for by git grep
	run(t, dir, "", "git", "add", "drivers")
	for name, of := range map[string]func(*testing.T, string){"KTAP": readsKTAP, "recipients": namesRecipients, "traces": decodesTraces, "tags": takesTags} {
		t.Run(name, func(t *testing.T) { of(t, dir) })
	}
}

// run runs a program and returns what it prints; a host without it skips the test.
func run(t *testing.T, dir, stdin, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skip(err)
	}
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %.300q: %v\n%s%s", name, args, err, out, stderr.String())
	}
	return string(out)
}

// kunit_parser.py counts what was written, and finds no fault.
func readsKTAP(t *testing.T, dir string) {
	const ask = `import sys
sys.path.insert(0, "tools/testing/kunit")
import kunit_parser
c = kunit_parser.parse_run_tests(sys.stdin.read().splitlines()).counts
print("counted", c.passed, c.failed + c.crashed, c.skipped, c.errors)`
	out := run(t, dir, write(t, "ktap", all()), "python3", "-c", ask)
	if !strings.HasSuffix(strings.TrimSpace(out), "counted 2 10 1 0") { // a fault of the harness is no result that passed
		t.Errorf("%s", out)
	}
}

// get_maintainer.pl names who looks after the file that defines the function.
func namesRecipients(t *testing.T, dir string) {
	to, err := mail.People(t.Context(), dir, summary.Of([]summary.Cell{cellOf(entropy())}))
	maintainers, rerr := os.ReadFile(filepath.Join(dir, "MAINTAINERS"))
	if err != nil || rerr != nil {
		t.Fatal(err, rerr)
	}
	section := regexp.MustCompile(`(?s)\nRANDOM NUMBER DRIVER\n(.*?)\n\n`).FindStringSubmatch(string(maintainers))
	if section == nil {
		t.Fatal("no section on drivers/char/random.c")
	}
	for _, m := range regexp.MustCompile(`(?m)^M:.*<(.*)>$`).FindAllStringSubmatch(section[1], -1) {
		if !strings.Contains(strings.Join(to, "\n"), m[1]) {
			t.Errorf("no %s among %q", m[1], to)
		}
	}
}

// decode_stacktrace.sh finds each function of a mail's trace, in a file that has them.
func decodesTraces(t *testing.T, dir string) {
	text, _ := mailOf(t, mail.Options{}, cellOf(entropy()))
	var c strings.Builder
	var names []string
	for _, m := range regexp.MustCompile(`(?m)^ *([a-z_0-9]+)\+0x[0-9a-f]+/0x[0-9a-f]+$`).FindAllStringSubmatch(text, -1) {
		names = append(names, m[1])
		fmt.Fprintf(&c, "void %s(void) { __asm__(\".fill 4096, 1, 0x90\"); }\n", m[1])
	}
	if len(names) < 3 {
		t.Fatalf("no trace in\n%s", text)
	}
	c.WriteString("int main(void) { return 0; }\n")
	if err := os.WriteFile(filepath.Join(dir, "traced.c"), []byte(c.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, dir, "", "gcc", "-g", "-no-pie", "-o", "traced", "traced.c")
	out := run(t, dir, text, "bash", "scripts/decode_stacktrace.sh", "traced", "auto")
	for _, n := range names {
		if !regexp.MustCompile(`(?m)^ *` + n + ` \(.*traced\.c:\d+\)`).MatchString(out) {
			t.Errorf("%s is not decoded in\n%s", n, out)
		}
	}
}

// checkpatch.pl takes the tags of a trial in a commit's message.
func takesTags(t *testing.T, dir string) {
	r := trial.Report{Scenario: "tiny/x86_64/none/tiny", Describe: "v6.12", Failure: "hang: demo", Before: trial.Seen{Failed: 1, Boots: 1}, After: trial.Seen{Boots: 5}}
	r.Tag("A. Tester <tester@example.org>")
	tag, _, _ := strings.Cut(r.Tested, "\n")
	patch := "From: A. Developer <developer@example.org>\nSubject: [PATCH] demo: return what was asked\n\nThe caller looks at the value, so return it.\n\n" + tag +
		"\nSigned-off-by: A. Developer <developer@example.org>\n---\n" +
		"--- a/lib/demo.c\n+++ b/lib/demo.c\n@@ -1,4 +1,4 @@\n int demo(void)\n {\n-\treturn 0;\n+\treturn 1;\n }\n"
	if out := run(t, dir, patch, "perl", "scripts/checkpatch.pl", "--no-tree", "--strict", "-"); !strings.Contains(out, "total: 0 errors, 0 warnings, 0 checks") {
		t.Errorf("%s", out)
	}
}
