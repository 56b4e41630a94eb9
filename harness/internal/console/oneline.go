package console

import "strings"

// OneLine makes an error one line that is safe for a terminal.
func OneLine(err error) string {
	return Sanitize(strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' }), "; "))
}
