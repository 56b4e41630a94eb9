package rerun

import (
	"fmt"

	"github.com/unwedge/unwedge/harness/bisect"
	"github.com/unwedge/unwedge/harness/result"
)

// Schema is the version of the document that Again is.
const Schema = "unwedge/reproduce/1"

// Again is what came of booting a guest again.
type Again struct {
	// Schema is the version of this document.
	Schema string `json:"schema"`
	// Same says that a boot ended as the one before: with the same failure, by its
	// signature, or without one.
	Same bool `json:"same"`
	// Was is how the boot before ended.
	Was Seen `json:"was"`
	// Now are the boots made again, in order.
	Now []Seen `json:"now"`
	// Differs is what was not as before: QEMU, its arguments, the host's accelerator.
	Differs []string `json:"differs,omitempty"`
}

// Seen is how one boot ended.
type Seen struct {
	// Outcome is how it ended.
	Outcome string `json:"outcome"`
	// Title and Signature are the failure's, empty where it booted.
	Title     string `json:"title,omitempty"`
	Signature string `json:"signature,omitempty"`
	// Same says that it ended as the boot before.
	Same bool `json:"same"`
	// Dir is the run's directory.
	Dir string `json:"dir,omitempty"`
}

// Begin makes an Again without boots.
func Begin(was *result.Result) *Again { return &Again{Schema: Schema, Was: seen(was)} }

// Add adds a boot.
func (a *Again) Add(was, now *result.Result) {
	s := seen(now)
	s.Dir = now.Dir
	s.Same = was.Outcome == now.Outcome && was.Expected == now.Expected && bisect.BootOf(was).Same(bisect.BootOf(now))
	a.Now = append(a.Now, s)
	a.Same = a.Same || s.Same
	if len(a.Now) > 1 {
		return
	}
	a.Differs = Differences(was.Host.Args, now.Host.Args)
	if was.Host.QEMUVersion != now.Host.QEMUVersion {
		a.Differs = append(a.Differs, fmt.Sprintf("QEMU %s, was %s", now.Host.QEMUVersion, was.Host.QEMUVersion))
	}
}

func seen(r *result.Result) Seen {
	b := bisect.BootOf(r)
	return Seen{Outcome: b.Outcome, Title: b.Title, Signature: b.Signature}
}

// Text says in a line how a boot ended.
func (s Seen) Text() string {
	if s.Title == "" {
		return s.Outcome
	}
	return s.Outcome + ": " + s.Title
}
