package hang

import (
	"fmt"
	"strings"
	"unicode"

	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gcustom"
	"github.com/onsi/gomega/types"
)

// beTheLines compares line by line and shows the first difference, where Equal
// would show two whole logs.
func beTheLines(want []string) types.GomegaMatcher {
	where := func(got []string) string {
		for i := range max(len(got), len(want)) {
			switch {
			case i >= len(got):
				return fmt.Sprintf("the console ends after %d lines, the guest's own log goes on with %q", i, want[i])
			case i >= len(want):
				return fmt.Sprintf("the console has %d lines more, the first is %q", len(got)-i, got[i])
			case got[i] != want[i]:
				return fmt.Sprintf("line %d of the console is\n%q\nbut the guest's own log has\n%q", i+1, got[i], want[i])
			}
		}
		return ""
	}
	diff := ""
	return gcustom.MakeMatcher(func(got []string) (bool, error) {
		diff = where(got)
		return diff == "", nil
	}).WithTemplate("Expected the console to have each record of the guest's own log once and in order:\n{{.Data.Diff}}", struct{ Diff *string }{&diff})
}

// beTame holds for text that does nothing to a terminal.
func beTame() OmegaMatcher {
	return WithTransform(func(s string) string {
		if i := strings.IndexFunc(s, wild); i >= 0 {
			return fmt.Sprintf("%q", s[max(0, i-40):min(len(s), i+40)])
		}
		return ""
	}, BeEmpty())
}

// wild says whether a terminal would act on the character.
func wild(r rune) bool {
	return unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Bidi_Control, r)
}
