package history

import (
	"fmt"
	"strings"
)

// Word is what a bisection says of a commit: git's own words.
type Word string

// The words.
const (
	Good Word = "good"
	Bad  Word = "bad"
	Skip Word = "skip"
)

// Said is one line of a bisection's log.
type Said struct {
	Commit Commit
	Word   Word
	// Note, where not empty, makes the line a comment that says why it does not
	// count: a boot that went well by chance, for example.
	Note string
	// Follows says that nothing was tested: it follows from the answer.
	Follows bool
}

// Log is a bisection as `git bisect log` writes it, for `git bisect replay`.
// first is the answer; where it is more than one commit, those are what is left of
// them, hidden by others that cannot be judged.
func Log(said []Said, first ...Commit) string {
	var b strings.Builder
	b.WriteString("git bisect start\n")
	for _, s := range said {
		if s.Note != "" {
			fmt.Fprintf(&b, "# %s, not counted: [%s] %s (%s)\n", s.Word, s.Commit.Hash, s.Commit.Subject, s.Note)
			continue
		}
		how := ""
		if s.Follows {
			how = ", implied by the answer"
		}
		fmt.Fprintf(&b, "# %s%s: [%s] %s\n", s.Word, how, s.Commit.Hash, s.Commit.Subject)
		fmt.Fprintf(&b, "git bisect %s %s\n", s.Word, s.Commit.Hash)
	}
	switch {
	case len(first) == 1:
		fmt.Fprintf(&b, "# first bad commit: [%s] %s\n", first[0].Hash, first[0].Subject)
	case len(first) > 1:
		b.WriteString("# only skipped commits left to test\n")
		for _, c := range first {
			fmt.Fprintf(&b, "# possible first bad commit: [%s] %s\n", c.Hash, c.Subject)
		}
	}
	return b.String()
}
