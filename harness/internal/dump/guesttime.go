package dump

import (
	"bytes"
	"strconv"

	"github.com/unwedge/unwedge/harness/internal/console"
)

// GuestTime reads the time stamp at the beginning of a printk line, in seconds:
// "[    1.234567] text", also behind a level.
func GuestTime(line []byte) (float64, bool) {
	line = console.Strip(line)
	if i := bytes.IndexByte(line, '['); i >= 0 && i <= 4 {
		line = line[i+1:]
	} else {
		return 0, false
	}
	end := bytes.IndexByte(line, ']')
	if end < 0 || end > 20 {
		return 0, false
	}
	v, err := strconv.ParseFloat(string(bytes.TrimSpace(line[:end])), 64)
	return v, err == nil && v >= 0
}
