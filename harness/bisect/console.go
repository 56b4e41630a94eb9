package bisect

import (
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
	"github.com/unwedge/unwedge/scenarios"
)

// Of a console so much is read, and of a line so much is told, in bytes.
const (
	maxConsole = 8 << 20
	maxSaid    = 200
)

// apart finds where two boots part: the last line that the one which hung printed,
// and what the good one printed after the same line. Both are "" where the boots did
// not leave that, or did not part there.
func apart(hung, good Boot) (said, next string) {
	if hung.Outcome != string(scenarios.Hung) {
		return "", ""
	}
	lines := consoleOf(hung.Dir)
	if len(lines) == 0 {
		return "", ""
	}
	last := lines[len(lines)-1]
	said = console.SanitizeMax(last, maxSaid)
	found := false
	for _, l := range consoleOf(good.Dir) {
		if found {
			return said, console.SanitizeMax(l, maxSaid)
		}
		found = unstamped(l) == unstamped(last)
	}
	return said, ""
}

// unstamped is a line without the kernel's time.
func unstamped(line string) string {
	if stamp, rest, ok := strings.Cut(line, "] "); ok && strings.HasPrefix(stamp, "[") && strings.Trim(stamp[1:], " .0123456789") == "" {
		return rest
	}
	return line
}

// consoleOf are the lines that a guest printed before it was asked anything, those
// with nothing on them left out; none where the run's directory is gone.
func consoleOf(dir string) []string {
	f, err := os.Open(filepath.Join(dir, rundir.Console))
	if err != nil {
		return nil
	}
	defer f.Close() // only read
	text, err := io.ReadAll(io.LimitReader(f, min(asked(dir), maxConsole)))
	if err != nil {
		return nil
	}
	var out []string
	for l := range strings.Lines(string(text)) {
		if l = strings.TrimRight(l, "\r\n"); strings.TrimSpace(unstamped(l)) != "" {
			out = append(out, l)
		}
	}
	return out
}

// asked is how many bytes were on the console when the guest was first asked what
// it does, in the stall that it ended in.
func asked(dir string) int64 {
	r, err := result.Read(filepath.Join(dir, rundir.Result))
	if err != nil || len(r.Stalls) == 0 {
		return maxConsole
	}
	attempts := r.Stalls[len(r.Stalls)-1].Attempts
	if len(attempts) == 0 {
		return maxConsole
	}
	return attempts[0].From
}
