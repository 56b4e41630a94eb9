package mail

import (
	"context"
	"fmt"
	netmail "net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/unwedge/unwedge/harness/report/summary"
)

// lookTime bounds each program that is asked about a source tree.
const lookTime = 2 * time.Minute

// People asks a kernel source tree whom a failure is for: the signers of the first bad
// commit, and who get_maintainer.pl names for the files that it changes, or for the file
// that defines the function that failed. Whoever names the tree trusts its script.
func People(ctx context.Context, dir string, s summary.Summary) (to []string, err error) {
	script := filepath.Join(dir, "scripts", "get_maintainer.pl")
	if _, err := os.Stat(script); err != nil {
		return nil, fmt.Errorf("find recipients: %w: --source names a kernel source tree", err)
	}
	files, commit := culprits(ctx, dir, s)
	if commit != "" {
		out, err := ask(ctx, dir, "git", "show", "-s", "--format=%an <%ae>%n%(trailers:key=Signed-off-by,valueonly)%(trailers:key=Reviewed-by,valueonly)", commit, "--")
		if err == nil { // the commit need not be in this tree
			to = append(to, lines(out)...)
		}
	}
	if len(files) > 0 {
		args := []string{script, "--no-git", "--no-git-fallback", "--no-rolestats"}
		for _, f := range files {
			args = append(args, "-f", f)
		}
		out, err := ask(ctx, dir, "perl", args...)
		if err != nil {
			return nil, fmt.Errorf("find recipients: %w", err)
		}
		to = append(to, lines(out)...)
	}
	return valid(to), nil
}

// culprits are the files that a failure points to, and the commit.
func culprits(ctx context.Context, dir string, s summary.Summary) (files []string, commit string) {
	for _, c := range s.Cells {
		if b := c.Bisection; b != nil && b.First != nil && commitID.MatchString(b.First.ID) {
			commit = b.First.ID
			if b.Commit != nil {
				files = append(files, changed(dir, b.Commit.Changes)...)
			}
		}
	}
	for _, c := range s.Cells {
		if len(files) > 0 || c.Result == nil || c.Status != summary.Fail || c.Result.Diagnosis == nil {
			continue
		}
		if f := defines(ctx, dir, c.Result.Diagnosis.Function); f != "" {
			files = append(files, f)
		}
	}
	return files, commit
}

var statLine = regexp.MustCompile(`^ ([A-Za-z0-9_./+,-]+) +\| `)

// changed are the files of a diffstat that are in the tree.
func changed(dir, stat string) []string {
	var out []string
	for l := range strings.Lines(stat) {
		m := statLine.FindStringSubmatch(l)
		if m == nil || !filepath.IsLocal(m[1]) {
			continue
		}
		if st, err := os.Stat(filepath.Join(dir, m[1])); err == nil && st.Mode().IsRegular() {
			out = append(out, m[1])
		}
	}
	return out
}

var functionName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{2,100}$`)

// defines is the one file that defines a function; "" where none does, or several do.
func defines(ctx context.Context, dir, function string) string {
	if !functionName.MatchString(function) {
		return ""
	}
	out, err := ask(ctx, dir, "git", "grep", "-lE", "^[A-Za-z_][A-Za-z0-9_ *]*[ *]"+function+`\([^;]*$`, "--", "*.c")
	if found := lines(out); err == nil && len(found) == 1 {
		return found[0]
	}
	return ""
}

func ask(ctx context.Context, dir, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.WaitDelay = dir, time.Second
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s in %s: %w", name, dir, err)
	}
	return string(out), nil
}

func lines(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == '\n' })
}

// list is what get_maintainer.pl says of a mailing list after its address.
var list = regexp.MustCompile(` +\(.*\)$`)

// valid are the addresses among the lines, each once.
func valid(all []string) []string {
	var out []string
	seen := map[string]bool{}
	for _, l := range all {
		a, err := netmail.ParseAddress(list.ReplaceAllString(strings.TrimSpace(l), ""))
		if err != nil || seen[a.Address] {
			continue
		}
		seen[a.Address] = true
		if a.Name == "" {
			out = append(out, a.Address)
		} else {
			out = append(out, a.String())
		}
	}
	return out
}
