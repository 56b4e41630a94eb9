package summary

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/unwedge/unwedge/harness/bisect"
	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/report"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
)

// maxFile bounds a document that is read, in bytes; maxCells how many boots a report has.
const (
	maxFile  = 256 << 20
	maxCells = 10_000
)

// Load reads what paths name: a run's directory or its result.json, a bisection's or its
// bisect.json, a directory of such directories, a Summary, or the JSON that `unwedge
// matrix --json` prints. "-" is stdin. Errors wrap usage.Error.
func Load(paths []string, stdin io.Reader) (Summary, error) {
	var cells []Cell
	for _, p := range paths {
		more, err := load(p, stdin)
		if err != nil {
			return Summary{}, usage.Wrap(err)
		}
		cells = append(cells, more...)
	}
	switch {
	case len(cells) == 0:
		return Summary{}, usage.Errorf("read runs: there are none in %s: name a run's directory or its %s", strings.Join(paths, ", "), rundir.Result)
	case len(cells) > maxCells:
		return Summary{}, usage.Errorf("read runs: %d of them: a report has %d at most", len(cells), maxCells)
	}
	return Of(cells), nil
}

func load(path string, stdin io.Reader) ([]Cell, error) {
	if path == "-" {
		return parse(stdin, "standard input", "")
	}
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read run: %w", err)
	}
	if !st.IsDir() {
		return file(path)
	}
	if name := document(path); name != "" {
		return file(filepath.Join(path, name))
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, fmt.Errorf("read runs: %w", err)
	}
	var cells []Cell
	for _, e := range entries {
		sub := filepath.Join(path, e.Name())
		name := document(sub)
		if !e.IsDir() || name == "" {
			continue
		}
		more, err := file(filepath.Join(sub, name))
		if err != nil {
			return nil, err
		}
		cells = append(cells, more...)
	}
	if _, err := os.Stat(filepath.Join(path, rundir.QMP)); len(cells) == 0 && err == nil {
		cells = []Cell{without(path)}
	}
	return cells, nil
}

// without is the cell of a run that left no Result.
func without(dir string) Cell {
	return Cell{Status: Error, Dir: dir, Why: "it left no " + rundir.Result + ": the harness failed, or the run is not over"}
}

// document is the document in a run's or bisection's directory, "" where there is none.
func document(dir string) string {
	for _, name := range []string{rundir.Result, rundir.Bisection} {
		if st, err := os.Stat(filepath.Join(dir, name)); err == nil && st.Mode().IsRegular() {
			return name
		}
	}
	return ""
}

func file(path string) ([]Cell, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read run: %w", err)
	}
	defer f.Close() // only read
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("read run: %w", err)
	}
	return parse(f, path, dir)
}

// parse reads one document. A Result's artifacts are beside it where it was read from a
// run's directory, which may have been moved, and else where it says.
func parse(r io.Reader, from, dir string) ([]Cell, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("it has more than %d MiB", maxFile>>20)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", from, err)
	}
	var all []json.RawMessage
	if json.Unmarshal(b, &all) != nil {
		all = []json.RawMessage{b}
	}
	var cells []Cell
	for _, one := range all {
		more, err := decode(one)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", from, err)
		}
		cells = append(cells, more...)
	}
	if dir != "" && len(cells) == 1 && document(dir) == filepath.Base(from) {
		cells[0].Dir = dir
	}
	return cells, nil
}

// decode makes cells of a document of any schema that has some.
func decode(b []byte) ([]Cell, error) {
	var head struct {
		Schema string `json:"schema"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return nil, err
	}
	var r result.Result
	var bi bisect.Report
	var s Summary
	switch head.Schema {
	case result.Schema:
		err := json.Unmarshal(b, &r)
		return []Cell{OfResult(&r, r.Dir)}, err
	case bisect.Schema:
		err := json.Unmarshal(b, &bi)
		return []Cell{OfBisection(&bi)}, err
	case Schema:
		err := json.Unmarshal(b, &s)
		return s.Cells, err
	default:
		return nil, fmt.Errorf("schema %q: it is neither a Result, a bisection nor a summary of this version", report.Safe(head.Schema, 80))
	}
}
