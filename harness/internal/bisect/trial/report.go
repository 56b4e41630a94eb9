package trial

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/unwedge/unwedge/harness/bisect"
)

// Schema is the version of the document that Report is.
const Schema = "unwedge/try/1"

// Verdict is what became of a series.
type Verdict string

// The verdicts.
const (
	Planned  Verdict = "planned"        // a dry run: it applies
	Fixed    Verdict = "fixed"          // the failure is gone, with the confidence asked
	NotFixed Verdict = "not-fixed"      // the same failure shows with the series
	Another  Verdict = "another"        // another failure shows
	Open     Verdict = "undecided"      // too few boots to be sure
	Rejects  Verdict = "does-not-apply" // some of it does not apply
	NoBuild  Verdict = "does-not-build" // the tree with it does not build
)

// Report is what a trial of a series found.
type Report struct {
	// Schema is the version of this document.
	Schema string `json:"schema"`
	// Verdict is the answer, Why it is that in a sentence.
	Verdict Verdict `json:"verdict"`
	Why     string  `json:"why"`
	// Failure is the failure's title, Signature its signature, Scenario where it shows.
	Failure   string `json:"failure"`
	Signature string `json:"signature,omitempty"`
	Scenario  string `json:"scenario"`
	// Base is the commit below the series, Describe its name by git describe.
	Base     string `json:"base"`
	Describe string `json:"describe,omitempty"`
	// Patches are the subjects of the series.
	Patches []string `json:"patches,omitempty"`
	// Rejected are the parts that do not apply.
	Rejected []Rejected `json:"rejected,omitempty"`
	// Release is the kernel's that was built.
	Release string `json:"release,omitempty"`
	// Before is how often the failure showed before, After with the series.
	Before Seen `json:"before"`
	After  Seen `json:"after"`
	// Need is how many boots without the failure make it sure; 0 where the limit does not
	// suffice.
	Need int `json:"need"`
	// Confidence is how sure it is that the failure is gone; Asked what was asked.
	Confidence float64 `json:"confidence"`
	Asked      float64 `json:"asked"`
	// Boots are the boots with the series, in order.
	Boots []bisect.Boot `json:"boots,omitempty"`
	// Tested is the tag for the commit message, with a sentence on how it was tested;
	// empty unless the failure is gone.
	Tested string `json:"tested,omitempty"`
}

// Judge takes one boot with the series into the report, and says whether the answer is
// there.
func (r *Report) Judge(b, want bisect.Boot) (done bool) {
	r.Boots = append(r.Boots, b)
	r.After.Boots++
	switch {
	case !b.Expected && b.Same(want):
		r.After.Failed++
		r.Verdict, r.Why, r.Confidence = NotFixed, fmt.Sprintf("the failure shows in boot %d with the series", r.After.Boots), 0
		return true
	case !b.Expected:
		r.Verdict, r.Why = Another, fmt.Sprintf("boot %d with the series fails in another way: %s", r.After.Boots, b.Name())
		return true
	}
	r.Confidence = r.Before.Gone(r.After.Boots)
	if r.Confidence < r.Asked {
		return false
	}
	r.Verdict, r.Why = Fixed, fmt.Sprintf("%d of %d boots showed the failure before, none of %d with the series", r.Before.Failed, r.Before.Boots, r.After.Boots)
	return true
}

// Undecided says that the boots allowed did not suffice.
func (r *Report) Undecided() {
	r.Verdict = Open
	r.Why = fmt.Sprintf("none of %d boots shows the failure, which is %s sure and not %s: give more of its runs, or raise --boots", r.After.Boots, percent(r.Confidence), percent(r.Asked))
}

// Tag writes the Tested-by block.
func (r *Report) Tag(by string) {
	var b strings.Builder
	fmt.Fprintf(&b, "Tested-by: %s\n", by)
	fmt.Fprintf(&b, "# %s, on %s: without the series %d of %d boots end with\n#   %s\n# with it none of %d does (%s sure).\n",
		r.Scenario, cmp.Or(r.Describe, r.Base), r.Before.Failed, r.Before.Boots, r.Failure, r.After.Boots, percent(r.Confidence))
	r.Tested = b.String()
}

func percent(p float64) string { return fmt.Sprintf("%.1f %%", 100*p) }
