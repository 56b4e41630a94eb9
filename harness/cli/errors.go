package cli

import (
	"strings"

	"github.com/unwedge/unwedge/harness/internal/console"
)

// oneLine makes an error one line that is safe for a terminal.
func oneLine(err error) string {
	return console.Sanitize(strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' }), "; "))
}
