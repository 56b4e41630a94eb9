package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/images/candidate"
)

// cardName is the file that a run of the score collects its results in.
const cardName = "score.json"

// explainedName is the file of explanations, see explained.
const explainedName = "explained.txt"

// goOn goes on with what an earlier run left in the same directory.
func (s *suite) goOn() error {
	if err := os.MkdirAll(s.out, 0o755); err != nil {
		return fmt.Errorf("make %s: %w", s.out, err)
	}
	b, err := os.ReadFile(filepath.Join(s.out, cardName))
	if err == nil {
		err = json.Unmarshal(b, &s.card)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read earlier results: %w", err)
	}
	if s.card.Refused == nil {
		s.card.Refused, s.card.Seeds, s.card.Entered = map[string]int{}, map[string]uint64{}, map[string]int{}
	}
	// What failed in the harness is tried again.
	s.card.Scores = slices.DeleteFunc(s.card.Scores, func(sc Score) bool { return sc.Verdict == Failed })
	s.card.Healthy = slices.DeleteFunc(s.card.Healthy, func(h Healthy) bool { return h.Outcome == harnessFailed })
	return nil
}

// known returns the verdict on a seed that was scored before.
func (s *suite) known(id string) (Verdict, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.card.Scores, func(sc Score) bool { return sc.ID == id })
	if i < 0 {
		return "", false
	}
	return s.card.Scores[i].Verdict, true
}

// explained returns the explanations of what was not all right, by seed: the
// lines "SEED: why" of explained.txt in the directory. People write it, and run
// the command once more.
func (s *suite) explained() map[string]string {
	out := map[string]string{}
	b, err := os.ReadFile(filepath.Join(s.out, explainedName))
	if err != nil {
		return out // nobody has explained anything yet
	}
	for line := range strings.Lines(string(b)) {
		// A seed's name can hold a colon, but no space behind one.
		if id, why, ok := strings.Cut(strings.TrimSpace(line), ": "); ok {
			out[id] = why
		}
	}
	return out
}

// update changes the card and writes it, so that an interrupted score is not
// lost.
func (s *suite) update(change func(*Card)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.card)
	text, err := json.MarshalIndent(&s.card, "", "  ")
	if err == nil {
		err = os.WriteFile(filepath.Join(s.out, cardName), append(text, '\n'), 0o644)
	}
	if err == nil {
		var md bytes.Buffer
		s.card.markdown(&md, s.command(), s.explained())
		err = os.WriteFile(s.results, md.Bytes(), 0o644)
	}
	if err != nil {
		fmt.Fprintln(s.log, "keep results:", err)
	}
}

func (c *Card) addKernel(of *candidate.Candidate) {
	k := fmt.Sprintf("%s: %s (%s)", of.Kernel.Arch, of.Kernel.Release, of.Origin)
	if !slices.Contains(c.Kernels, k) {
		c.Kernels = append(c.Kernels, k)
	}
}
