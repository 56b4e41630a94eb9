package bundle

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
)

// hostPath is an absolute path of two parts or more in a sentence.
var hostPath = regexp.MustCompile(`/[^\s:'"(),;]+/[^\s:'"(),;]+`)

// devices are paths that are the same on each host.
var devices = regexp.MustCompile(`^/(dev|proc|sys)/`)

// hidePaths leaves of each path its last part.
func hidePaths(text string) string {
	return hostPath.ReplaceAllStringFunc(text, func(p string) string {
		if devices.MatchString(p) {
			return p
		}
		return path.Base(p)
	})
}

// anonymous is the Result without this host's paths: names are those of the files in the
// bundle by their paths.
func anonymous(r *result.Result, dir string, names map[string]string) ([]byte, error) {
	pairs := map[string]string{r.Host.QEMU: filepath.Base(r.Host.QEMU)}
	for path, name := range names {
		pairs[path], pairs[strings.ReplaceAll(path, ",", ",,")] = name, name
	}
	for _, path := range []string{r.Dir, dir} {
		pairs[path], pairs[strings.ReplaceAll(path, ",", ",,")] = ".", "."
	}
	if home, err := os.UserHomeDir(); err == nil && home != "/" {
		pairs[home+"/"] = "~/"
	}
	delete(pairs, "")
	longest := slices.SortedFunc(maps.Keys(pairs), func(a, b string) int {
		if d := len(b) - len(a); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	var list []string
	for _, from := range longest {
		list = append(list, from, pairs[from])
	}
	again, err := rewritten(r, strings.NewReplacer(list...).Replace)
	if err != nil {
		return nil, err
	}
	hideHost(again)
	again.Files = maps.Clone(again.Files)
	for what, name := range again.Files {
		if !slices.Contains(evidence, name) && !strings.HasPrefix(name, "dump-") && name != rundir.Result && name != rundir.Command {
			delete(again.Files, what)
		}
	}
	text, err := json.MarshalIndent(again, "", "  ")
	return append(text, '\n'), err
}

// rewritten is a copy of a Result with each text replaced.
func rewritten(r *result.Result, replace func(string) string) (*result.Result, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	var all any
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&all); err != nil {
		return nil, err
	}
	if b, err = json.Marshal(walk(all, replace)); err != nil {
		return nil, err
	}
	var out result.Result
	return &out, json.Unmarshal(b, &out)
}

func walk(v any, replace func(string) string) any {
	switch v := v.(type) {
	case string:
		return replace(v)
	case []any:
		for i := range v {
			v[i] = walk(v[i], replace)
		}
	case map[string]any:
		for k := range v {
			v[k] = walk(v[k], replace)
		}
	}
	return v
}

// hideHost shortens what the harness says of files of this host to their names. What the
// guest says stays.
func hideHost(r *result.Result) {
	if filepath.IsAbs(r.Kernel.Origin) || strings.ContainsRune(r.Kernel.Origin, '/') && !strings.HasPrefix(r.Kernel.Origin, "deb:") {
		r.Kernel.Origin = filepath.Base(r.Kernel.Origin)
	}
	r.Host.AccelWhy = hidePaths(r.Host.AccelWhy)
	for i := range r.Notes {
		r.Notes[i] = hidePaths(r.Notes[i])
	}
	for i := range r.Stalls {
		if m := r.Stalls[i].Memory; m != nil {
			for j := range m.Problems {
				m.Problems[j] = hidePaths(m.Problems[j])
			}
		}
	}
	r.Kept = nil
}
