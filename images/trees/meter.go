package trees

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/unwedge/unwedge/images/progress"
)

// meter reads what `git fetch --progress` says and hands it on. git ends a line
// that it will write again with a carriage return.
type meter struct {
	task  progress.Task
	line  []byte
	bytes int64 // received in this pack
	last  string
}

func (m *meter) Write(p []byte) (int, error) {
	for _, b := range p {
		if b != '\n' && b != '\r' {
			if len(m.line) < 1024 {
				m.line = append(m.line, b)
			}
			continue
		}
		m.say(string(m.line))
		m.line = m.line[:0]
	}
	return len(p), nil
}

var (
	stageRE = regexp.MustCompile(`^(?:remote: )?([A-Z][a-z]+ [a-z]+): +(\d+)%`)
	sizeRE  = regexp.MustCompile(`, ([\d.]+) (bytes|KiB|MiB|GiB)`)
)

func (m *meter) say(line string) {
	stage := stageRE.FindStringSubmatch(line)
	if stage == nil {
		return
	}
	if note := strings.ToLower(stage[1]) + " " + stage[2] + "%"; note != m.last {
		m.last = note
		m.task.Note(note)
	}
	size := sizeRE.FindStringSubmatch(line)
	if size == nil || stage[1] != "Receiving objects" {
		return
	}
	n, err := strconv.ParseFloat(size[1], 64)
	if err != nil {
		return
	}
	unit := map[string]float64{"bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}[size[2]]
	if got := int64(n * unit); got > m.bytes {
		m.task.Add(got - m.bytes)
		m.bytes = got
	}
}
