package cli

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// The manual pages are made of the help, and man in a C locale warns of what it cannot
// print.
func TestTheHelpIsASCII(t *testing.T) {
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, text := range []string{c.Use, c.Short, c.Long, c.Example, c.Flags().FlagUsages()} {
			if i := strings.IndexFunc(text, func(r rune) bool { return r > 0x7e }); i >= 0 {
				t.Errorf("%s: %q", c.CommandPath(), text[max(0, i-30):min(len(text), i+10)])
			}
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(Command("test"))
}
