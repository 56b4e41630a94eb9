package kbuild

import (
	"bufio"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/scenarios/arch"
)

//go:embed fragments/*.config
var fragmentFiles embed.FS

// Setting is one option that a fragment wants.
type Setting struct {
	// Name has its CONFIG_ prefix.
	Name string
	// Value is as .config has it after the equals sign, strings with their
	// quotes; "n" for "is not set".
	Value string
	// Optional settings need not stick: not every version or architecture has
	// the option.
	Optional bool
}

// line is how .config has it.
func (s Setting) line() string {
	if s.Value == "n" {
		return "# " + s.Name + " is not set"
	}
	return s.Name + "=" + s.Value
}

// Fragment is a named part of a configuration.
type Fragment struct {
	// Name is that of an embedded fragment, or a file's path.
	Name     string
	Settings []Setting
}

// reproducible is merged into every configuration.
const reproducible = "reproducible"

// UnknownFragmentError says that a fragment's name is neither an embedded one's
// nor a file's.
type UnknownFragmentError struct{ Name string }

func (e *UnknownFragmentError) Error() string {
	return fmt.Sprintf("configuration fragment %q: no such file, and none of %s", e.Name, strings.Join(FragmentNames(), ", "))
}

// FragmentNames lists the embedded fragments.
func FragmentNames() []string {
	entries, err := fragmentFiles.ReadDir("fragments")
	if err != nil {
		return nil // the folder is embedded
	}
	var names []string
	for _, e := range entries {
		name, _, _ := strings.Cut(e.Name(), ".")
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// FindFragment takes the embedded fragment of that name for the architecture, or
// reads the file of that path. The error is an *UnknownFragmentError where there is
// neither.
func FindFragment(name string, a arch.Arch) (Fragment, error) {
	if slices.Contains(FragmentNames(), name) {
		return embedded(name, a)
	}
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return Fragment{}, &UnknownFragmentError{name}
	}
	if err != nil {
		return Fragment{}, fmt.Errorf("read configuration fragment: %w", err)
	}
	defer f.Close()
	settings, err := parseFragment(f)
	if err != nil {
		return Fragment{}, fmt.Errorf("read configuration fragment %s: %w", name, err)
	}
	return Fragment{Name: filepath.Base(name), Settings: settings}, nil
}

// embedded joins what all architectures share with what is one's own.
func embedded(name string, a arch.Arch) (Fragment, error) {
	out := Fragment{Name: name}
	for _, file := range []string{name + ".config", name + "." + string(a) + ".config"} {
		f, err := fragmentFiles.Open("fragments/" + file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return out, err
		}
		settings, err := parseFragment(f)
		f.Close() // embedded
		if err != nil {
			return out, fmt.Errorf("embedded fragment %s: %w", file, err)
		}
		out.Settings = append(out.Settings, settings...)
	}
	return out, nil
}

var (
	setRE   = regexp.MustCompile(`^(CONFIG_[A-Za-z0-9_]+)=(.*)$`)
	unsetRE = regexp.MustCompile(`^# (CONFIG_[A-Za-z0-9_]+) is not set$`)
	valueRE = regexp.MustCompile(`^(?:[ymn]|-?[0-9]+|0[xX][0-9a-fA-F]+|"(?:[^"\\]|\\.)*")$`)
)

// optionalMark begins the settings of a fragment that need not stick.
const optionalMark = "#:optional"

const maxFragment = 1 << 20 // bytes; a whole .config is 0.3 MiB

// parseFragment reads settings in the form of .config. A line "#:optional" makes
// those behind it optional.
func parseFragment(r io.Reader) ([]Setting, error) {
	var out []Setting
	optional := false
	sc := bufio.NewScanner(io.LimitReader(r, maxFragment))
	for n := 1; sc.Scan(); n++ {
		line := strings.TrimSpace(sc.Text())
		s := Setting{Optional: optional, Value: "n"}
		if m := setRE.FindStringSubmatch(line); m != nil {
			s.Name, s.Value = m[1], strings.TrimSpace(m[2])
			if !valueRE.MatchString(s.Value) {
				return nil, fmt.Errorf("line %d: %q is not a value: want y, m, n, a number or a quoted string", n, s.Value)
			}
		} else if m := unsetRE.FindStringSubmatch(line); m != nil {
			s.Name = m[1]
		} else if line == optionalMark {
			optional = true
			continue
		} else if line == "" || strings.HasPrefix(line, "#") {
			continue
		} else {
			return nil, fmt.Errorf("line %d is not a kernel config setting: %.40q", n, line)
		}
		out = append(out, s)
	}
	if err := sc.Err(); err != nil {
		return nil, err
	}
	return out, nil
}

// merge writes fragments over a configuration as scripts/kconfig/merge_config.sh
// -m does: what a fragment sets is taken out of the text, and its own line added;
// of two fragments the later one holds. It returns the text and what holds in the
// end, in the order of the fragments.
func merge(base string, fragments []Fragment) (string, []Setting) {
	last := map[string]Setting{}
	var order []string
	for _, f := range fragments {
		for _, s := range f.Settings {
			old, seen := last[s.Name]
			if !seen {
				order = append(order, s.Name)
			} else if !old.Optional && old.Value == s.Value {
				s.Optional = false // wanted by one of them
			}
			last[s.Name] = s
		}
	}
	var b strings.Builder
	for line := range strings.Lines(base) {
		name := ""
		text := strings.TrimSpace(line)
		if m := setRE.FindStringSubmatch(text); m != nil {
			name = m[1]
		} else if m := unsetRE.FindStringSubmatch(text); m != nil {
			name = m[1]
		}
		if _, ours := last[name]; !ours {
			b.WriteString(strings.TrimSuffix(line, "\n") + "\n")
		}
	}
	var wanted []Setting
	for _, name := range order {
		b.WriteString(last[name].line() + "\n")
		wanted = append(wanted, last[name])
	}
	return b.String(), wanted
}
