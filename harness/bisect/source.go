package bisect

import (
	"context"
	"fmt"
	"time"
)

// Candidate is one kernel that may be the first bad one, or an end.
type Candidate struct {
	// ID identifies it for good: a commit's hash, a package's name and version.
	ID string `json:"id"`
	// Name is a short name for a line of text.
	Name string `json:"name"`
	// About says more, such as a commit's subject.
	About string `json:"about,omitempty"`
	// Stamp differs where what the ID names was changed: of a file its size and time.
	// It is "" for what never changes. What was made of another one is not taken.
	Stamp string `json:"-"`
}

func (c Candidate) String() string {
	if c.About == "" {
		return c.Name
	}
	return fmt.Sprintf("%s (%q)", c.Name, c.About)
}

// Kernel is a candidate made bootable.
type Kernel struct {
	// Arg is what names the kernel to `unwedge boot`: a file, a package.
	Arg string `json:"kernel"`
	// ModulesDir is its lib/modules/RELEASE, "" where Arg says it all.
	ModulesDir string `json:"modules,omitempty"`
	// Image is the same for two candidates only if the same bytes boot: a build
	// ID, else a SHA-256.
	Image string `json:"image"`
	// Took is how long it took to make.
	Took time.Duration `json:"took_ns"`
}

// UnbuildableError says that a candidate cannot be made bootable, and that this
// is the candidate's fault: the search goes on without it.
type UnbuildableError struct {
	Candidate Candidate
	Reason    string // one line
	Log       string // a file, "" where there is none
}

func (e *UnbuildableError) Error() string {
	return fmt.Sprintf("%s cannot be built: %s", e.Candidate.Name, e.Reason)
}

// Source is where candidates come from. Candidates and Good do not change.
type Source interface {
	// Good are the good ends.
	Good() []Candidate
	// Candidates are what the search chooses from, parents first; the last is the
	// bad end.
	Candidates() []Candidate
	// Parents are the indices of each candidate's parents.
	Parents() [][]int
	// Prepare makes one bootable; one call at a time. hurry is nil where it is
	// wanted now; otherwise it is made ahead, and must leave the processors to
	// guests that run until hurry is closed. The error is an UnbuildableError
	// where the candidate is to blame, and anything else ends the bisection. When
	// ctx ends Prepare ends soon, with everything that it started.
	Prepare(ctx context.Context, c Candidate, hurry <-chan struct{}) (Kernel, error)
}
