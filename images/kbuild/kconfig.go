package kbuild

import (
	"bufio"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/unwedge/unwedge/scenarios/arch"
)

// option is what a tree's Kconfig files say about one option.
type option struct {
	file    string
	line    int
	prompt  bool
	depends []string // expressions, all of which must hold
}

// Bounds on what is read of a tree: mainline has some 1,700 Kconfig files, the
// largest of 90 KB.
const (
	maxKconfigs = 20_000
	maxKconfig  = 4 << 20
)

// explain fills in why options did not hold.
func explain(unmet []Unmet, source string, a arch.Arch, have map[string]string) {
	names := map[string]bool{}
	for _, u := range unmet {
		names[strings.TrimPrefix(u.Name, "CONFIG_")] = true
	}
	found := findOptions(source, a, names)
	for i := range unmet {
		u := &unmet[i]
		defs := found[strings.TrimPrefix(u.Name, "CONFIG_")]
		if u.Why, u.tool = oldTool(defs, have); u.tool != "" {
			continue
		}
		u.Why = why(defs, u, have)
	}
}

func why(defs []option, u *Unmet, have map[string]string) string {
	if len(defs) == 0 {
		return "this tree has no such option for the architecture"
	}
	var unmetDeps []string
	for _, d := range defs {
		for _, e := range d.depends {
			for _, sym := range symbolsRE.FindAllString(e, -1) {
				if v := value(have, sym); v == "n" && !slices.Contains(unmetDeps, sym) && sym != "y" && sym != "n" && sym != "m" {
					unmetDeps = append(unmetDeps, sym)
				}
			}
		}
	}
	where := fmt.Sprintf("%s:%d", defs[0].file, defs[0].line)
	switch {
	case u.Value == "n":
		return "another option selects it (" + where + ")"
	case len(unmetDeps) > 0:
		return fmt.Sprintf("it depends on %s, of which %s not set (%s)", strings.Join(defs[0].depends, " && "), areOf(unmetDeps), where)
	case !slices.ContainsFunc(defs, func(o option) bool { return o.prompt }):
		return "it cannot be set by hand: other options select it (" + where + ")"
	default:
		return "see " + where
	}
}

// toolOptions are options that hold the version of a program of this host.
var toolOptions = map[string]string{
	"PAHOLE_VERSION": "pahole", "GCC_VERSION": "gcc", "CLANG_VERSION": "clang", "LLD_VERSION": "ld.lld",
	"AS_VERSION": "the assembler", "LD_VERSION": "the linker", "RUSTC_VERSION": "rustc",
}

// atLeastRE is such a version, held against a number.
var atLeastRE = regexp.MustCompile(`^([A-Z]+_VERSION) >= (\d+)$`)

// oldTool names the program of this host that is too old for an option, or is not
// there, and says which version it asks for; "" where that is not what the option
// lacks: all of its conditions but versions have to hold. Only plain conjunctions are
// understood.
func oldTool(defs []option, have map[string]string) (why, tool string) {
	for _, o := range defs {
		for _, d := range o.depends {
			for e := range strings.SplitSeq(d, " && ") {
				e = strings.TrimSpace(e)
				m := atLeastRE.FindStringSubmatch(e)
				if m == nil || toolOptions[m[1]] == "" {
					if symbolRE.MatchString(e) && value(have, e) == "n" {
						return "", "" // that is missing, whatever the versions are
					}
					continue
				}
				least, errLeast := strconv.Atoi(m[2])
				is, errIs := strconv.Atoi(value(have, m[1]))
				if errLeast != nil || errIs != nil || is >= least {
					continue
				}
				tool = toolOptions[m[1]]
				why = fmt.Sprintf("it depends on %s, and here it is %d (%s:%d)", e, is, o.file, o.line)
				if is == 0 {
					why = fmt.Sprintf("it depends on %s, and %s is not installed (%s:%d)", e, tool, o.file, o.line)
				}
			}
		}
	}
	return why, tool
}

func areOf(names []string) string {
	if len(names) == 1 {
		return names[0] + " is"
	}
	return strings.Join(names, ", ") + " are"
}

func value(have map[string]string, sym string) string {
	if v, ok := have["CONFIG_"+sym]; ok {
		return v
	}
	return "n"
}

var (
	symbolRE  = regexp.MustCompile(`^[0-9]*[A-Z][A-Z0-9_]*$`)
	symbolsRE = regexp.MustCompile(`\b[0-9]*[A-Z][A-Z0-9_]*\b`)
	defRE     = regexp.MustCompile(`^(?:menu)?config\s+([A-Za-z0-9_]+)`)
	typeRE    = regexp.MustCompile(`^(?:bool|tristate|string|int|hex|prompt)\s+"`)
)

// findOptions reads the definitions of some options. Other architectures' files are
// passed over. What cannot be read is left out: the explanation is then poorer.
func findOptions(source string, a arch.Arch, names map[string]bool) map[string][]option {
	found := map[string][]option{}
	files := 0
	skip := func(rel string) bool {
		dir, name := filepath.Split(rel)
		return name == ".git" || name == "Documentation" || name == "tools" || dir == "arch/" && name != a.Facts().Source && !strings.HasPrefix(name, "Kconfig")
	}
	_ = filepath.WalkDir(source, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // what cannot be read is left out
		}
		rel, _ := filepath.Rel(source, path)
		switch {
		case d.IsDir() && skip(rel):
			return fs.SkipDir
		case !d.Type().IsRegular() || !strings.HasPrefix(d.Name(), "Kconfig"):
			return nil
		}
		if files++; files > maxKconfigs {
			return fs.SkipAll
		}
		f, err := os.Open(path)
		if err != nil {
			return nil //nolint:nilerr // as above
		}
		defer f.Close()
		readKconfig(f, rel, names, found)
		return nil
	})
	return found
}

// readKconfig collects the definitions in one file, with the conditions of the ifs
// and menus around them (Documentation/kbuild/kconfig-language.rst).
func readKconfig(f *os.File, rel string, names map[string]bool, found map[string][]option) {
	var around []string // expressions of the open ifs and menus
	var current *option
	inMenu, help := false, false
	keep := func(name string) {
		if current != nil {
			found[name] = append(found[name], *current)
		}
		current = nil
	}
	name := ""
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, maxKconfig)
	for n := 1; sc.Scan(); n++ {
		raw := sc.Text()
		line := strings.TrimSpace(raw)
		if help && (line == "" || strings.HasPrefix(raw, "\t  ") || strings.HasPrefix(raw, "          ")) {
			continue
		}
		help = false
		word, rest, _ := strings.Cut(line, " ")
		rest = strings.TrimSpace(rest)
		switch {
		case line == "help" || line == "---help---":
			help = true
		case word == "if":
			keep(name)
			around, inMenu = append(around, rest), false
		case word == "menu" || word == "choice":
			keep(name)
			around, inMenu = append(around, ""), true
		case word == "endif" || word == "endmenu" || word == "endchoice":
			keep(name)
			if len(around) > 0 {
				around = around[:len(around)-1]
			}
		case defRE.MatchString(line):
			keep(name)
			inMenu = false
			if name = defRE.FindStringSubmatch(line)[1]; names[name] {
				current = &option{file: rel, line: n, depends: nonEmpty(around)}
			}
		case strings.HasPrefix(line, "depends on "):
			e := strings.TrimPrefix(line, "depends on ")
			if current != nil {
				current.depends = append(current.depends, e)
			} else if inMenu && len(around) > 0 {
				around[len(around)-1] = strings.TrimPrefix(around[len(around)-1]+" && "+e, " && ")
			}
		case current != nil && typeRE.MatchString(line):
			current.prompt = true
		}
	}
	keep(name)
}

func nonEmpty(list []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == "" })
}
