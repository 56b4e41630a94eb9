package kcidb

import (
	"net/url"
	"path/filepath"

	"github.com/unwedge/unwedge/harness/rundir"
)

// The objects of the schema, as far as they are used. Nothing may be null, and nothing
// else may be there.

// Document is all that is submitted at once.
type Document struct {
	Version   Version    `json:"version"`
	Checkouts []Checkout `json:"checkouts,omitempty"`
	Builds    []Build    `json:"builds,omitempty"`
	Tests     []Test     `json:"tests,omitempty"`
	Issues    []Issue    `json:"issues,omitempty"`
	Incidents []Incident `json:"incidents,omitempty"`
}

// Version is the version of the schema.
type Version struct {
	Major int `json:"major"`
	Minor int `json:"minor"`
}

// Checkout is the source of a kernel.
type Checkout struct {
	ID         string `json:"id"`
	Origin     string `json:"origin"`
	Tree       string `json:"tree_name,omitempty"`
	URL        string `json:"git_repository_url,omitempty"`
	Commit     string `json:"git_commit_hash,omitempty"`
	CommitName string `json:"git_commit_name,omitempty"`
	Branch     string `json:"git_repository_branch,omitempty"`
	Valid      *bool  `json:"valid,omitempty"`
}

// Build is one kernel.
type Build struct {
	ID           string         `json:"id"`
	Origin       string         `json:"origin"`
	Checkout     string         `json:"checkout_id"`
	Architecture string         `json:"architecture,omitempty"`
	Status       string         `json:"status,omitempty"`
	Misc         map[string]any `json:"misc,omitempty"`
}

// Test is one boot.
type Test struct {
	ID          string         `json:"id"`
	Origin      string         `json:"origin"`
	Build       string         `json:"build_id"`
	Environment *Environment   `json:"environment,omitempty"`
	Path        string         `json:"path,omitempty"`
	Comment     string         `json:"comment,omitempty"`
	LogURL      string         `json:"log_url,omitempty"`
	Excerpt     string         `json:"log_excerpt,omitempty"`
	Status      string         `json:"status,omitempty"`
	Number      *Number        `json:"number,omitempty"`
	Started     string         `json:"start_time,omitempty"`
	Duration    float64        `json:"duration,omitempty"`
	Misc        map[string]any `json:"misc,omitempty"`
}

// Environment is what a test ran on.
type Environment struct {
	Comment string         `json:"comment,omitempty"`
	Misc    map[string]any `json:"misc,omitempty"`
}

// Number is what a test measured: the time to its outcome.
type Number struct {
	Value  float64 `json:"value"`
	Unit   string  `json:"unit"`
	Prefix string  `json:"prefix"`
}

// Issue is a failure, whatever kernel it was seen in.
type Issue struct {
	ID         string         `json:"id"`
	Version    int            `json:"version"`
	Origin     string         `json:"origin"`
	Subject    string         `json:"report_subject,omitempty"`
	Categories []string       `json:"categories,omitempty"`
	Culprit    *Culprit       `json:"culprit,omitempty"`
	Misc       map[string]any `json:"misc,omitempty"`
}

// Culprit says what is to blame for an issue.
type Culprit struct {
	Code    bool `json:"code"`
	Tool    bool `json:"tool"`
	Harness bool `json:"harness"`
}

// Incident says that a test met an issue.
type Incident struct {
	ID           string `json:"id"`
	Origin       string `json:"origin"`
	Issue        string `json:"issue_id"`
	IssueVersion int    `json:"issue_version"`
	Test         string `json:"test_id,omitempty"`
	Present      *bool  `json:"present,omitempty"`
	Comment      string `json:"comment,omitempty"`
}

func consoleURL(base, dir string) string {
	u, err := url.JoinPath(base, filepath.Base(dir), rundir.Console)
	if err != nil {
		return "" // Options.Check has seen the URL; it names no place
	}
	return u
}
