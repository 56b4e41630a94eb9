package extmod

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/unwedge/unwedge/images/kernel"
	"github.com/unwedge/unwedge/images/modules"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// Facts decide whether a kernel loads a module. Sources say where they were read.
type Facts struct {
	Release string
	Arch    arch.Arch
	// Vermagic is the kernel's own (include/linux/vermagic.h), "" where it is not
	// known.
	Vermagic string
	// Exports are the symbols that modules may use, those of other modules among
	// them where they are known; nil where nothing is known of them.
	Exports map[string]Export
	// StructSize is the size of the kernel's struct module, in bytes; 0 where it is
	// not known.
	StructSize uint64
	// NoModules says that the image has none of what a kernel with modules has.
	NoModules bool
	// Config is the kernel's configuration; nil where it is not known.
	Config *kernel.Config
	// Cmdline are the words of the kernel command line.
	Cmdline []string
	// Strict says that the kernel refuses a module that lacks the CRC of one of its
	// symbols, as Debian's do ("module: Disable matching missing version CRC" in
	// their patches); others warn.
	Strict bool
	// Sources say where vermagic, symbols and configuration are from.
	Sources []string
	// Notes are what does not fit together, such as headers of another build.
	Notes []string
}

// Source is where a kernel's facts can be found.
type Source struct {
	// Kernel is needed.
	Kernel *kernel.Kernel
	// Headers is a build tree or the directory of a header package: it has
	// Module.symvers. "" where there is none.
	Headers string
	// ModulesDir is the kernel's lib/modules/RELEASE directory, "" where there is
	// none.
	ModulesDir string
	// Cmdline are the words of the kernel command line.
	Cmdline []string
}

// Gather reads the facts of a kernel: from its own image where it has them,
// else from its headers and its packaged modules. depends names modules whose
// symbols are needed too. Facts that cannot be found stay empty.
func Gather(ctx context.Context, s Source, depends ...string) (*Facts, error) {
	f := &Facts{Release: s.Kernel.Release, Arch: s.Kernel.Arch, Config: s.Kernel.Config, Cmdline: s.Cmdline}
	f.Strict = isDebians(s.Kernel.Banner)
	image, err := s.Kernel.Payload(ctx)
	if err != nil {
		return nil, err
	}
	if f.Config != nil {
		f.source("configuration", "that of the kernel, or of its package")
	}
	if f.Vermagic = ImageVermagic(image, f.Release); f.Vermagic != "" {
		f.source("vermagic", "the kernel image")
	}
	if f.Exports, err = ImageExports(image); err == nil {
		f.source("symbols and CRCs", "the kernel image (__ksymtab, __kcrctab)")
	} else if !errors.Is(err, ErrNoExports) {
		return nil, err
	}
	if f.Config.Get("CONFIG_MODULE_REL_CRCS") == "y" { // what is in the table is where they are
		dropCRCs(f.Exports)
	}
	if err := f.fromHeaders(s.Headers); err != nil {
		return nil, err
	}
	if err := f.fromModules(s.ModulesDir, depends); err != nil {
		return nil, err
	}
	f.NoModules = f.Vermagic == "" && f.Exports == nil
	return f, nil
}

// isDebians says that a kernel is built from Debian's package, by its banner: the
// package's version is behind the number of the build. Any kernel that was built on
// a Debian host names Debian's compiler before that.
func isDebians(banner string) bool {
	_, build, _ := strings.Cut(banner, "#")
	return strings.Contains(build, " Debian ")
}

func (f *Facts) source(what, where string) {
	f.Sources = append(f.Sources, what+": "+where)
}

func (f *Facts) note(format string, args ...any) {
	f.Notes = append(f.Notes, fmt.Sprintf(format, args...))
}

func dropCRCs(exports map[string]Export) {
	for name, x := range exports {
		x.CRC, x.HasCRC = 0, false
		exports[name] = x
	}
}

// vermagicRE is what follows the release in a vermagic string: words that the
// configuration and the architecture add (include/linux/vermagic.h). The banner
// has the release, too, and goes on otherwise.
var vermagicRE = regexp.MustCompile(`^ ((SMP|preempt|preempt_rt|mod_unload|modversions|aarch64|RANDSTRUCT_[0-9a-f]+) ?)*\x00`)

// ImageVermagic finds the kernel's vermagic string in its unpacked image, "" where
// it is not there.
func ImageVermagic(image []byte, release string) string {
	if release == "" {
		return ""
	}
	for from := 0; ; {
		i := bytes.Index(image[from:], []byte(release+" "))
		if i < 0 {
			return ""
		}
		start := from + i
		end := start + len(release)
		if m := vermagicRE.Find(image[end:min(len(image), end+maxName)]); m != nil {
			return string(image[start:end]) + string(m[:len(m)-1])
		}
		from = end
	}
}

// fromHeaders reads Module.symvers, and compares it with what the image has.
func (f *Facts) fromHeaders(dir string) error {
	if dir == "" {
		return nil
	}
	listed, err := readSymversFile(filepath.Join(dir, "Module.symvers"))
	if errors.Is(err, fs.ErrNotExist) {
		f.note("%s has no Module.symvers: build the kernel, or its modules, to have one", dir)
		return nil
	}
	if err != nil {
		return err
	}
	if f.Exports == nil {
		f.Exports = listed
		f.source("symbols and CRCs", "Module.symvers of the headers")
		return nil
	}
	own := len(f.Exports)
	var differ []string
	for name, x := range listed {
		have, ok := f.Exports[name]
		switch {
		case x.Owner != "" && !ok:
			f.Exports[name] = x
		case x.Owner != "":
		case !ok, have.HasCRC && x.HasCRC && have.CRC != x.CRC:
			differ = append(differ, name)
		case !have.HasCRC && x.HasCRC && f.Config.Get("CONFIG_MODULE_REL_CRCS") == "y":
			f.Exports[name] = x
		}
	}
	f.source("symbols of other modules", "Module.symvers of the headers")
	if len(differ) > 0 {
		slices.Sort(differ)
		f.note("the headers belong to another kernel: Module.symvers and the image differ in %d of %d symbols, such as %s", len(differ), own, differ[0])
	}
	return nil
}

// fromModules takes what the named modules export. Any module shows the size of
// struct module, and the vermagic where the image has none.
func (f *Facts) fromModules(dir string, names []string) error {
	if dir == "" {
		return nil
	}
	set, err := modules.Open(dir)
	if err != nil {
		return err
	}
	exports := len(names) > 0 && f.Exports != nil
	if all := set.Names(); len(names) == 0 && len(all) > 0 {
		names = all[:1]
	}
	load, missing, err := set.Load(names...)
	if err != nil {
		return err
	}
	if missing = slices.DeleteFunc(missing, f.owns); len(missing) > 0 {
		f.note("it depends on %s, which is not among the kernel's modules: its symbols count as missing", strings.Join(missing, ", "))
	}
	for _, file := range load {
		b, err := set.Read(file)
		if err != nil {
			return err
		}
		m, err := Parse(b)
		if err != nil {
			return err
		}
		if magic, ok := m.info("vermagic"); ok && f.Vermagic == "" {
			f.Vermagic = magic
			f.source("vermagic", "the packaged module "+m.Name)
		}
		if f.StructSize == 0 && m.StructSize != 0 {
			f.StructSize = m.StructSize
			f.source("size of struct module", "the packaged module "+m.Name)
		}
		if !exports || len(m.Exports) == 0 {
			continue
		}
		for name, x := range m.Exports {
			if _, ok := f.Exports[name]; !ok {
				f.Exports[name] = x
			}
		}
		f.source("symbols of "+m.Name, "the packaged module")
	}
	return nil
}

// owns says whether a module's symbols are known.
func (f *Facts) owns(module string) bool {
	for _, x := range f.Exports {
		if x.Owner == module {
			return true
		}
	}
	return false
}

// Modversions says that the kernel compares CRCs (CONFIG_MODVERSIONS).
func (f *Facts) Modversions() bool {
	if f.Vermagic != "" {
		return slices.Contains(strings.Fields(f.Vermagic), "modversions")
	}
	return slices.ContainsFunc(slices.Collect(maps.Values(f.Exports)), func(x Export) bool { return x.HasCRC && x.Owner == "" })
}

// atLeast says that the kernel is of that version or later.
func (f *Facts) atLeast(major, minor int) bool {
	w := strings.FieldsFunc(f.Release, func(r rune) bool { return r < '0' || r > '9' })
	if len(w) < 2 {
		return false
	}
	a, _ := strconv.Atoi(w[0])
	b, _ := strconv.Atoi(w[1])
	return a > major || a == major && b >= minor
}

// word returns the value of the last word KEY=VALUE, or KEY, of the command line.
func (f *Facts) word(key string) (value string, ok bool) {
	for _, w := range f.Cmdline {
		if k, v, _ := strings.Cut(w, "="); strings.ReplaceAll(k, "-", "_") == key {
			value, ok = v, true
		}
	}
	return value, ok
}
