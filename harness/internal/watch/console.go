package watch

import (
	"bytes"
	"regexp"
	"strconv"
	"time"
)

// rising remembers the highest percentage of each shape of line: a check that
// counts up works, however much its lines are alike. One that begins anew does
// not count again, so that no line counts more than a thousand times.
type rising map[uint64]float64

// The smallest step that counts, and how many shapes are remembered.
const (
	risingStep = 0.1
	maxRising  = 64
)

var percentage = regexp.MustCompile(`\b(\d{1,3}(?:\.\d{1,6})?) ?%`)

// rises says whether the line shows a higher percentage than those before it.
func (r rising) rises(shape uint64, line []byte) bool {
	m := percentage.FindSubmatch(line[:min(len(line), 1024)])
	if m == nil {
		return false
	}
	v, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil || v > 100 {
		return false
	}
	was, known := r[shape]
	if known && v < was+risingStep || !known && len(r) >= maxRising {
		return false
	}
	r[shape] = v
	return known
}

// job is the start job that systemd says it waits for.
type job struct {
	limit time.Time // when systemd ends it by itself; zero for never
	said  time.Time
}

// jobSays is the end of systemd's status line: "(13s / 1min 30s)"
// (src/core/job.c, and manager_print_jobs_in_progress of src/core/manager.c).
var jobSays = regexp.MustCompile(`\(((?:\d+(?:h|min|s|ms) ?)+) / ((?:\d+(?:h|min|s|ms) ?)+)\)`)

// jobLine reads when systemd will end the job that a status line speaks of; ok
// is false for a line that is none.
func jobLine(at time.Time, line []byte) (j job, ok bool) {
	if !isWaiting(line) {
		return job{}, false
	}
	j.said = at
	if m := jobSays.FindSubmatch(line[:min(len(line), 1024)]); m != nil {
		j.limit = at.Add(timespan(m[2]) - timespan(m[1]))
	}
	return j, true
}

// timespan reads systemd's "1h 2min 3s".
func timespan(b []byte) time.Duration {
	units := map[string]time.Duration{"h": time.Hour, "min": time.Minute, "s": time.Second, "ms": time.Millisecond}
	var sum time.Duration
	for f := range bytes.FieldsSeq(b) {
		n := len(f)
		for n > 0 && (f[n-1] < '0' || f[n-1] > '9') {
			n--
		}
		v, err := strconv.ParseInt(string(f[:n]), 10, 32)
		if err != nil {
			return 0
		}
		sum += time.Duration(v) * units[string(f[n:])]
	}
	return sum
}

// JobDue returns in how long systemd will end the job that it waits for, by the
// job's own time limit; 0 where it says none, or has not said so lately.
func (t *Tracker) JobDue(now time.Time) time.Duration {
	const lately = 10 * time.Second
	if t.job.limit.IsZero() || now.Sub(t.job.said) > lately {
		return 0
	}
	return max(0, t.job.limit.Sub(now))
}
