package diagnose

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/unwedge/unwedge/harness/result"
)

// TestCorpus explains every log in testdata/corpus: shapes of logs that people
// paste, with what is right. A file begins with header lines "word: value", then an
// empty line, then the log, byte for byte. Words that are left out are not checked.
//
//	about:      what the case is, or where its shape was seen (always there)
//	kind, cause, where, confidence, title, function: that field of the Diagnosis, exactly
//	finding:    "SEVERITY TITLE" of a finding; where the word is there, the list is exactly
//	            that, in order (repeatable)
//	findings:   "none": there are none
//	says:       words that the title, summary, remedy, task or notes must hold (repeatable)
//	not:        words that none of them may hold (repeatable)
func TestCorpus(t *testing.T) {
	paths, err := filepath.Glob("testdata/corpus/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatal("no corpus", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			t.Parallel()
			c := readCase(t, path)
			d := Explain(c.log)
			for _, w := range c.wrong(d) {
				t.Error(w)
			}
			if t.Failed() {
				t.Logf("got %s, %s, %s (%s)\n title: %s\n func: %s\n sum: %s\n remedy: %s\n notes: %s",
					d.Kind, d.Cause, d.Where, d.Confidence, d.Title, d.Function, d.Summary, d.Remedy, strings.Join(d.Notes, "\n        "))
			}
		})
	}
}

// corpusCase is one file of the corpus.
type corpusCase struct {
	header []headerLine
	log    []byte
}

type headerLine struct{ word, value string }

func readCase(t testing.TB, path string) corpusCase {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, log, ok := bytes.Cut(b, []byte("\n\n"))
	if !ok {
		t.Fatalf("%s: no empty line between header and log", path)
	}
	c := corpusCase{log: log}
	for line := range strings.SplitSeq(string(head), "\n") {
		word, value, ok := strings.Cut(line, ":")
		if value = strings.TrimSpace(value); !ok || value == "" {
			t.Fatalf("%s: %q is no header line", path, line)
		}
		c.header = append(c.header, headerLine{word, value})
	}
	if c.header[0].word != "about" {
		t.Fatalf("%s: does not begin with about:", path)
	}
	return c
}

// wrong lists what a Diagnosis has otherwise than the header says.
func (c corpusCase) wrong(d result.Explanation) []string {
	var out, findings []string
	none := false
	fields := map[string]string{
		"kind": string(d.Kind), "cause": string(d.Cause), "where": string(d.Where),
		"confidence": string(d.Confidence), "title": d.Title, "function": d.Function,
	}
	said := strings.Join(append([]string{d.Title, d.Summary, d.Remedy}, d.Notes...), "\n")
	if d.Task != nil {
		said += "\n" + fmt.Sprint(*d.Task)
	}
	for _, h := range c.header {
		got, field := fields[h.word]
		switch {
		case h.word == "about":
		case field && got != h.value:
			out = append(out, fmt.Sprintf("%s is %q, want %q", h.word, got, h.value))
		case field:
		case h.word == "finding":
			findings = append(findings, h.value)
		case h.word == "findings" && h.value == "none":
			none = true
		case h.word == "says":
			if !strings.Contains(said, h.value) {
				out = append(out, fmt.Sprintf("does not say %q", h.value))
			}
		case h.word == "not":
			if strings.Contains(said, h.value) {
				out = append(out, fmt.Sprintf("says %q", h.value))
			}
		default:
			out = append(out, fmt.Sprintf("unknown header word %q", h.word))
		}
	}
	if len(findings) > 0 || none {
		var got []string
		for _, f := range d.Findings {
			got = append(got, string(f.Severity)+" "+f.Title)
		}
		if diff := cmp.Diff(findings, got); diff != "" {
			out = append(out, "findings, -want +got:\n"+diff)
		}
	}
	return out
}
