package candidate

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/images/kernel/elf64"
)

// depmod writes modules.dep for the modules below dir/kernel, with each
// module's dependencies, and theirs, the nearest first, as depmod(8) does. It
// trusts what modpost wrote into each module ("depends=" in .modinfo).
func depmod(dir string, list []string) error {
	paths := map[string]string{} // by module name
	for _, m := range list {
		paths[moduleName(m)] = "kernel/" + m
	}
	needs := map[string][]string{}
	for name, p := range paths {
		b, err := os.ReadFile(filepath.Join(dir, p))
		if err != nil {
			return fmt.Errorf("read module: %w", err)
		}
		if needs[name], err = depends(b); err != nil {
			return fmt.Errorf("read module %s: %w", p, err)
		}
	}
	var out strings.Builder
	for _, m := range list {
		name := moduleName(m)
		out.WriteString(paths[name] + ":")
		for _, d := range closure(name, needs) {
			p, ok := paths[d]
			if !ok {
				return fmt.Errorf("module %s depends on %s, which is not built", m, d)
			}
			out.WriteString(" " + p)
		}
		out.WriteString("\n")
	}
	if err := os.WriteFile(filepath.Join(dir, "modules.dep"), []byte(out.String()), 0o644); err != nil {
		return fmt.Errorf("write modules.dep: %w", err)
	}
	return nil
}

func moduleName(p string) string {
	return strings.ReplaceAll(strings.TrimSuffix(path.Base(p), ".ko"), "-", "_")
}

// closure lists what a module needs, directly or not, each before what it
// needs itself. Modules cannot depend on each other in a circle; if these
// claim to, the walk ends all the same.
func closure(name string, needs map[string][]string) []string {
	var post []string
	seen := map[string]bool{name: true}
	var visit func(n string)
	visit = func(n string) {
		for _, d := range needs[n] {
			if !seen[d] {
				seen[d] = true
				visit(d)
				post = append(post, d)
			}
		}
	}
	visit(name)
	slices.Reverse(post)
	return post
}

// depends reads the modules that a module needs from its .modinfo section,
// NUL-terminated key=value strings (include/linux/moduleparam.h).
func depends(module []byte) ([]string, error) {
	f, err := elf64.Parse(module)
	if err != nil {
		return nil, err
	}
	s, ok := f.Section(".modinfo")
	if !ok {
		return nil, errors.New("no .modinfo section")
	}
	for kv := range strings.SplitSeq(string(f.Data(s)), "\x00") {
		value, ok := strings.CutPrefix(kv, "depends=")
		if !ok {
			continue
		}
		var out []string
		for d := range strings.SplitSeq(value, ",") {
			if d != "" {
				out = append(out, strings.ReplaceAll(d, "-", "_"))
			}
		}
		return out, nil
	}
	return nil, nil
}
