package diagnose

import "github.com/unwedge/unwedge/harness/result"

//go:generate go test -run TestReadmeListsTheCauses -update

// rule is one row of the table.
type rule struct {
	name   string
	family family
	// causes are those that fire can give.
	causes []result.Cause
	// means says in one sentence what has been seen when it fires.
	means string
	// fire returns nil unless the rule's own facts are there.
	fire func(facts) *result.Diagnosis
}

// section is a group of rules that stand together for one reason.
type section struct {
	title string
	why   string // why it stands where it does
	rules []rule
}

// family groups rules by the kind of fact they rest on.
type family int

const (
	famFatal   family = iota // the kernel or user space gave up: nothing comes after it
	famCrash                 // oops
	famLockup                // a detector of the kernel
	famHang                  // the wait chain
	famConsole               // what user space says on the console
	famEnding                // how the run ended
	famNone
)

// rivals says whether facts of a later rule throw doubt on the cause of an
// earlier one. What is fatal is not doubted, and what the console says of a
// waiting job goes with the wait chain.
func rivals(won, other family) bool {
	switch won {
	case famCrash, famLockup:
		return other == famHang || other == famLockup
	case famHang:
		return other == famCrash || other == famLockup
	}
	return false
}

// rules are the rows of the table, in order.
func rules() []rule {
	var out []rule
	for _, s := range table() {
		out = append(out, s.rules...)
	}
	return out
}
