package main

import (
	"embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"
)

//go:embed short/*.json
var shortFiles embed.FS

// short is an architecture's short score: each fault once, in functions that every
// boot passes.
type short struct {
	Mutants []Mutant `json:"mutants"`
	// User names faults of user space.
	User []string `json:"user"`
	// Entropy has a boot without random numbers too.
	Entropy bool `json:"entropy"`
}

func readShort(a arch.Arch) (s short, err error) {
	b, err := shortFiles.ReadFile("short/" + string(a) + ".json")
	if err != nil {
		return s, fmt.Errorf("no short score for %s", a)
	}
	return s, json.Unmarshal(b, &s)
}

// shortPlaces are the seeds of the short score. They are not drawn, so that a
// failure is the change's that was made, and not the draw's.
func (b *bench) shortPlaces() ([]spot, error) {
	list, err := readShort(b.arch)
	if err != nil {
		return nil, err
	}
	var out []spot
	for _, m := range list.Mutants {
		out = append(out, spot{b.mutantSeed(m)})
	}
	for _, u := range userFaults {
		if slices.Contains(list.User, u.name) {
			out = append(out, spot{b.userSeed(u, "")})
		}
	}
	if list.Entropy {
		out = append(out, spot{b.entropySeed()})
	}
	return out, nil
}

// allRight returns an error that names what was not right.
func (c *Card) allRight() error {
	var bad []string
	for _, s := range c.Scores {
		if s.Verdict != Right {
			bad = append(bad, fmt.Sprintf("%s: %s: %q %s (%s)", s.ID, s.Verdict, s.Title, s.Note, s.Dir))
		}
	}
	for _, h := range c.Healthy {
		if h.Outcome != scenarios.Booted {
			bad = append(bad, fmt.Sprintf("healthy %s%s: %s: %s (%s)", h.Cell, h.how(), h.Outcome, h.Note, h.Dir))
		}
	}
	if len(bad) > 0 {
		return fmt.Errorf("not all right: %s", strings.Join(bad, "; "))
	}
	return nil
}
