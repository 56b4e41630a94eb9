package toolchain

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/unwedge/unwedge/scenarios/arch"
)

// requirement is a program's oldest version that a tree can be built with.
type requirement struct{ program, minimum, where string }

// The files with a tree's requirements: the first is a script that the build
// itself asks since 5.12; the others are for people.
const minToolScript = "scripts/min-tool-version.sh"

var changesFiles = []string{"Documentation/process/changes.rst", "Documentation/Changes"}

const maxDocument = 1 << 20 // bytes

// requirements reads what a tree asks for on an architecture, by the names that the
// table of changes.rst and the script use, in lower case. A tree that says nothing
// asks for nothing.
func requirements(source string, a arch.Arch) (map[string]requirement, error) {
	out := map[string]requirement{}
	for _, name := range changesFiles {
		err := readWith(filepath.Join(source, name), func(r io.Reader) {
			for k, v := range parseChanges(r) {
				out[k] = requirement{k, v, name}
			}
		})
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	err := readWith(filepath.Join(source, minToolScript), func(r io.Reader) {
		for k, v := range parseMinTools(r, a) {
			out[k] = requirement{k, v, minToolScript}
		}
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return out, nil
}

func readWith(path string, use func(io.Reader)) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	use(io.LimitReader(f, maxDocument))
	return nil
}

// changesRow is a row of the table "Minimal version": the program, the version, the
// command that prints it. Older tables begin with "o  ".
var changesRow = regexp.MustCompile(`^(?:o\s+)?(\S.*?)\s{2,}([0-9][0-9a-z.]*)\s+(?:#\s+)?\S`)

// changesNames are what the table calls the programs that are checked.
var changesNames = map[string]string{
	"gnu c": "gcc", "clang/llvm": "llvm", "gnu make": "make", "binutils": "binutils", "flex": "flex", "bison": "bison", "pahole": "pahole",
}

// parseChanges reads the table of minimal versions in changes.rst. Notes such as
// "(optional)" are left off the name.
func parseChanges(r io.Reader) map[string]string {
	out := map[string]string{}
	for sc := bufio.NewScanner(r); sc.Scan(); {
		m := changesRow.FindStringSubmatch(sc.Text())
		if m == nil {
			continue
		}
		name, _, _ := strings.Cut(strings.ToLower(m[1]), " (")
		if known := changesNames[strings.TrimSpace(name)]; known != "" && out[known] == "" {
			out[known] = m[2]
		}
	}
	return out
}

var (
	minToolCase = regexp.MustCompile(`^(\w+)\)$`)
	minToolEcho = regexp.MustCompile(`^echo ([0-9][0-9.]*)$`)
	minToolArch = regexp.MustCompile(`"\$(?:SRC)?ARCH" = (\w+)`)
)

// parseMinTools reads the cases of scripts/min-tool-version.sh. Of a case that
// depends on the architecture the first branch for it holds, as in the shell: since
// 6.15 x86 needs newer compilers than the rest.
func parseMinTools(r io.Reader, a arch.Arch) map[string]string {
	out := map[string]string{}
	current, others := "", false // others: the branch is for other architectures
	for sc := bufio.NewScanner(r); sc.Scan(); {
		line := strings.TrimSpace(sc.Text())
		if m := minToolCase.FindStringSubmatch(line); m != nil {
			current, others = m[1], false
		} else if line == ";;" {
			current = ""
		} else if m := minToolArch.FindAllStringSubmatch(line, -1); m != nil {
			others = !slices.ContainsFunc(m, func(m []string) bool { return m[1] == a.Facts().Source })
		} else if line == "else" {
			others = false
		} else if m := minToolEcho.FindStringSubmatch(line); m != nil && current != "" && !others && out[current] == "" {
			out[current] = m[1]
		}
	}
	return out
}

// versions holds the installed programs against the tree's requirements.
func (c *checker) versions(ctx context.Context) error {
	if c.Source == "" {
		return nil
	}
	wants, err := requirements(c.Source, c.Arch)
	if err != nil {
		return err
	}
	type tried struct{ program, want string }
	try := []tried{{"make", "make"}, {"flex", "flex"}, {"bison", "bison"}}
	if c.LLVM {
		try = append(try, tried{c.tools.CC, "llvm"}, tried{c.tools.LD, "llvm"})
	} else {
		try = append(try, tried{c.tools.CC, "gcc"}, tried{c.tools.LD, "binutils"})
	}
	for _, t := range try {
		want, known := wants[t.want]
		if !known || c.isFound(t.program) {
			continue
		}
		out, err := c.run(ctx, t.program, "--version")
		if err != nil {
			c.found(t.program, "it does not run: "+first(out, err))
			continue
		}
		have := versionIn(out)
		if have != "" && older(have, want.minimum) {
			c.foundAs(Old, t.program, fmt.Sprintf("version %s is too old: this tree needs %s or later (%s)", have, want.minimum, want.where))
		}
	}
	return nil
}

// versionRE is a version; what stands in parentheses is a distribution's own.
var (
	versionRE = regexp.MustCompile(`(?:^|[^0-9A-Za-z.])v?([0-9]+(?:\.[0-9]+)+)`)
	parensRE  = regexp.MustCompile(`\([^)]*\)`)
)

// versionIn finds the version in the first line that a program prints of itself:
// "gcc (Debian 12.2.0-14) 12.2.0", "GNU ld (GNU Binutils for Debian) 2.40".
func versionIn(out string) string {
	line := first(out, errors.New(""))
	for _, text := range []string{parensRE.ReplaceAllString(line, ""), line} {
		if m := versionRE.FindStringSubmatch(text); m != nil {
			return m[1]
		}
	}
	return ""
}

// older compares versions part by part as numbers; letters are not looked at.
func older(have, want string) bool {
	h, w := parts(have), parts(want)
	for i := range max(len(h), len(w)) {
		if x, y := at(h, i), at(w, i); x != y {
			return x < y
		}
	}
	return false
}

func at(n []int, i int) int {
	if i < len(n) {
		return n[i]
	}
	return 0
}

func parts(v string) []int {
	var out []int
	for p := range strings.SplitSeq(v, ".") {
		n, err := strconv.Atoi(strings.TrimRight(p, "abcdefghijklmnopqrstuvwxyz"))
		if err != nil {
			return out
		}
		out = append(out, n)
	}
	return out
}
