package extmod

import (
	"fmt"
	"slices"
	"strings"
)

// Verdict is what a kernel will do with a module.
type Verdict string

// The verdicts.
const (
	Loads            Verdict = "loads"                  // the kernel takes it
	RefusedFormat    Verdict = "refused-format"         // not a module, or for another machine
	RefusedSignature Verdict = "refused-signature"      // not signed, where the kernel insists
	RefusedVermagic  Verdict = "refused-vermagic"       // built for a kernel of another kind
	RefusedCRC       Verdict = "refused-crc"            // a symbol has another type in this kernel
	RefusedSymbol    Verdict = "refused-unknown-symbol" // a symbol is not exported, or not to this module
	RefusedNamespace Verdict = "refused-namespace"      // a symbol's namespace is not imported
	RefusedBlocked   Verdict = "refused-blocked"        // the command line names it in module_blacklist
	RefusedAll       Verdict = "refused-all"            // the kernel was built without modules
)

// Prediction is what a kernel will do with a module, and what it will log.
type Prediction struct {
	// Module is the module's name.
	Module string `json:"module"`
	// Verdict is what the kernel will do.
	Verdict Verdict `json:"verdict"`
	// Symbol is the first symbol that it is refused for.
	Symbol string `json:"symbol,omitempty"`
	// Errno is the error's name that finit_module returns, "" where it loads.
	Errno string `json:"errno,omitempty"`
	// Lines are what the kernel will log, in order, without its time stamps.
	// One may have more before it, such as the name of who logs it.
	Lines []string `json:"lines,omitempty"`
	// Why is the reason in one sentence.
	Why string `json:"why"`
	// Needs are modules that must be loaded before it.
	Needs []string `json:"needs,omitempty"`
	// Sources are the files that the kernel's facts are from.
	Sources []string `json:"sources,omitempty"`
	// Notes are what is not known for sure.
	Notes []string `json:"notes,omitempty"`
}

// Loads says that the kernel will take the module.
func (p *Prediction) Loads() bool { return p.Verdict == Loads }

// refuse ends the prediction.
func (p *Prediction) refuse(v Verdict, errno, why string, lines ...string) {
	p.Verdict, p.Errno, p.Why = v, errno, why
	p.Lines = append(p.Lines, lines...)
}

func (p *Prediction) note(format string, args ...any) {
	p.Notes = append(p.Notes, fmt.Sprintf(format, args...))
}

// Check predicts what the kernel will do with a module that is loaded without
// force. It goes through what load_module asks, in the kernel's order: signature,
// format, version of struct module, vermagic, then each symbol
// (kernel/module/main.c, version.c and signing.c of 5.17 and later;
// kernel/module.c before). What a module's own code does, it does not predict.
func Check(m *Module, f *Facts) Prediction {
	p := Prediction{Module: m.Name, Verdict: Loads, Sources: f.Sources, Notes: slices.Clone(f.Notes)}
	for _, step := range []func(*Module, *Facts, *Prediction){
		checkModules, checkSignature, checkFormat, checkBlocked, checkLayout, checkVermagic, checkSymbols, checkBTF,
	} {
		if step(m, f, &p); !p.Loads() {
			return p
		}
	}
	switch {
	case f.Vermagic == "" || f.Exports == nil:
		p.Why = "nothing known about this kernel speaks against it"
	case f.Modversions():
		p.Why = "vermagic, symbols and CRCs match this kernel"
	default:
		p.Why = "vermagic and symbols match this kernel"
	}
	return p
}

// checkModules: without CONFIG_MODULES the kernel has no such system call
// (kernel/sys_ni.c).
func checkModules(_ *Module, f *Facts, p *Prediction) {
	switch {
	case f.Config.Get("CONFIG_MODULES") == "n":
		p.refuse(RefusedAll, "ENOSYS", "this kernel is built without modules (CONFIG_MODULES)")
	case f.NoModules && f.Config == nil:
		p.refuse(RefusedAll, "ENOSYS", "this kernel is built without modules: its image has neither a vermagic nor exported symbols")
	}
}

// checkSignature is module_sig_check. The signature itself is not verified here.
func checkSignature(m *Module, f *Facts, p *Prediction) {
	if f.Config.Get("CONFIG_MODULE_SIG") == "n" {
		return
	}
	enforce := f.Config.Get("CONFIG_MODULE_SIG_FORCE") == "y"
	if v, ok := f.word("module.sig_enforce"); ok && isTrue(v) {
		enforce = true
	}
	switch locked := isLocked(f); {
	case !enforce && !locked:
	case m.Signed:
		p.note("it is signed, as the kernel requires; whether the kernel has the key was not checked")
	case enforce:
		p.refuse(RefusedSignature, "EKEYREJECTED", "it is not signed, and this kernel loads only signed modules", "Loading of unsigned module is rejected")
	default:
		p.refuse(RefusedSignature, "EPERM", "it is not signed, and the kernel is locked down", "unsigned module loading is restricted; see man kernel_lockdown.7")
	}
}

// isTrue is kstrtobool, for a parameter that may stand without a value.
func isTrue(v string) bool {
	v = strings.ToLower(v)
	return v == "" || v[0] == 'y' || v[0] == 't' || v[0] == '1' || strings.HasPrefix(v, "on")
}

// isLocked says that the kernel is locked down from boot (security/lockdown): the LSM is
// built in, enabled, and told to lock down.
func isLocked(f *Facts) bool {
	lsms, named := f.word("lsm")
	switch {
	case f.Config.Get("CONFIG_SECURITY_LOCKDOWN_LSM") == "n":
		return false
	case named && f.Config.Get("CONFIG_SECURITY_LOCKDOWN_LSM_EARLY") != "y" && !slices.Contains(strings.Split(lsms, ","), "lockdown"):
		return false
	}
	if v, ok := f.word("lockdown"); ok && (v == "integrity" || v == "confidentiality") {
		return true
	}
	return f.Config.Get("CONFIG_LOCK_DOWN_KERNEL_FORCE_INTEGRITY") == "y" || f.Config.Get("CONFIG_LOCK_DOWN_KERNEL_FORCE_CONFIDENTIALITY") == "y"
}

// checkFormat is what the kernel asks of the ELF file. Since 6.4 the module's part
// that becomes its struct module must have the kernel's size.
func checkFormat(m *Module, f *Facts, p *Prediction) {
	want := f.Arch.Facts().ELF
	switch {
	case want != 0 && m.Machine != want:
		p.refuse(RefusedFormat, "ENOEXEC", fmt.Sprintf("it is not for %s but for another machine (ELF machine %d)", f.Arch, m.Machine))
	case m.lacks != "":
		p.refuse(RefusedFormat, "ENOEXEC", "it lacks "+m.lacks)
	case !f.atLeast(6, 4):
	case f.StructSize == 0:
		p.note("the size of struct module was not compared: no module of this kernel shows it")
	case m.StructSize != f.StructSize:
		p.refuse(RefusedFormat, "ENOEXEC", fmt.Sprintf("its struct module has %d bytes, this kernel's has %d", m.StructSize, f.StructSize),
			fmt.Sprintf("module %s: %s section size must match the kernel's built struct module size at run time", m.Name, thisModule))
	}
}

func checkBlocked(m *Module, f *Facts, p *Prediction) {
	list, _ := f.word("module_blacklist")
	if m.Name != "" && slices.Contains(strings.Split(list, ","), m.Name) {
		p.refuse(RefusedBlocked, "EPERM", "module_blacklist on the kernel command line blocks it", fmt.Sprintf("Module %s is blacklisted", m.Name))
	}
}

// layoutSymbol stands for the types that the kernel and a module share before
// anything else: struct module and its kin.
const layoutSymbol = "module_layout"

// checkLayout is check_modstruct_version.
func checkLayout(m *Module, f *Facts, p *Prediction) {
	if !f.Modversions() {
		return
	}
	switch m.version(layoutSymbol, f) {
	case differs:
		p.Symbol = layoutSymbol
		p.refuse(RefusedCRC, "ENOEXEC", "it was built for a different struct module", disagrees(m, layoutSymbol))
	case missing:
		if f.Strict {
			p.Symbol = layoutSymbol
			p.refuse(RefusedCRC, "ENOEXEC", "it has no CRC for struct module", noVersion(m, layoutSymbol))
		}
	case unversioned:
		if f.Config.Get("CONFIG_MODULE_FORCE_LOAD") == "n" {
			p.refuse(RefusedCRC, "ENOEXEC", "it was built without CRCs, and this kernel requires them")
			return
		}
		p.forced(f, "it was built without CRCs")
	}
}

func disagrees(m *Module, symbol string) string {
	return fmt.Sprintf("%s: disagrees about version of symbol %s", m.Name, symbol)
}

func noVersion(m *Module, symbol string) string {
	return fmt.Sprintf("%s: no symbol version for %s", m.Name, symbol)
}

// checkVermagic is check_modinfo's first part. Where the kernel compares CRCs and
// the module has some, the release may differ.
func checkVermagic(m *Module, f *Facts, p *Prediction) {
	if f.Vermagic == "" {
		p.note("the vermagic was not compared: the kernel's is unknown")
		return
	}
	got, ok := m.info("vermagic")
	if !ok {
		if f.Config.Get("CONFIG_MODULE_FORCE_LOAD") == "n" {
			p.refuse(RefusedVermagic, "ENOEXEC", "it has no vermagic")
		} else {
			p.forced(f, "it has no vermagic")
		}
		return
	}
	a, b := got, f.Vermagic
	if f.Modversions() && m.Versions != nil {
		a, b = behindSpace(a), behindSpace(b)
	}
	if a != b {
		p.refuse(RefusedVermagic, "ENOEXEC", fmt.Sprintf("it was built for '%s', and this kernel is '%s'", strings.TrimSpace(got), strings.TrimSpace(f.Vermagic)),
			fmt.Sprintf("%s: version magic '%s' should be '%s'", m.Name, got, f.Vermagic))
	}
}

// behindSpace is what follows the release.
func behindSpace(magic string) string {
	if i := strings.IndexByte(magic, ' '); i >= 0 {
		return magic[i:]
	}
	return ""
}

// checkSymbols is simplify_symbols: the kernel goes on after a symbol that it
// refuses, and returns the last one's error.
func checkSymbols(m *Module, f *Facts, p *Prediction) {
	if f.Exports == nil {
		p.note("the symbols were not compared: the kernel's are unknown")
		return
	}
	more := 0
	for _, u := range m.Undefined {
		r := resolve(m, f, u)
		if r.owner != "" && !slices.Contains(p.Needs, r.owner) && r.owner != m.Name {
			p.Needs = append(p.Needs, r.owner)
		}
		if r.verdict == Loads {
			continue
		}
		if p.Symbol == "" {
			p.Symbol, p.Verdict, p.Why = u.Name, r.verdict, r.why
		} else {
			more++
		}
		errno := 22
		if p.Errno = "EINVAL"; r.verdict == RefusedSymbol {
			p.Errno, errno = "ENOENT", 2
		}
		if len(p.Lines) < maxLines {
			p.Lines = append(p.Lines, r.lines...)
			p.Lines = append(p.Lines, fmt.Sprintf("%s: Unknown symbol %s (err %d)", m.Name, u.Name, -errno))
		}
	}
	if more > 0 {
		p.Why += fmt.Sprintf("; %d more symbols are refused", more)
	}
}

// checkBTF notes what is not compared: a kernel that reads the type information of
// modules refuses one that does not match its own, unless it is configured to load it
// (kernel/bpf/btf.c, btf_module_notify; the option is of 5.18). Since 6.11 a module
// may carry its own base types.
func checkBTF(m *Module, f *Facts, p *Prediction) {
	if !m.BTF || m.BTFBase && f.atLeast(6, 11) || f.Config.Get("CONFIG_DEBUG_INFO_BTF_MODULES") != "y" || f.Config.Get("CONFIG_MODULE_ALLOW_BTF_MISMATCH") == "y" {
		return
	}
	p.note("its type information (.BTF) was not compared: if it was built against another build of this kernel, it is refused with EINVAL and 'failed to validate module [%s] BTF'", p.Module)
}

// forced says how a module without what the kernel wants is taken.
func (p *Prediction) forced(f *Facts, lacks string) {
	where := ""
	if f.Config == nil {
		where = " if it has CONFIG_MODULE_FORCE_LOAD"
	}
	p.note("%s: the kernel loads it anyway%s and is tainted", lacks, where)
}

// maxLines bounds Prediction.Lines, which a module with 65,536 unknown symbols
// would fill.
const maxLines = 100

// resolution is what becomes of one symbol.
type resolution struct {
	verdict Verdict
	owner   string
	why     string
	lines   []string
}

// resolve is resolve_symbol.
func resolve(m *Module, f *Facts, u Undefined) resolution {
	x, ok := f.Exports[u.Name]
	if ok && x.GPL && !gplCompatible(m) {
		return refusedSymbol(m, u, fmt.Sprintf("the symbol %s is exported only to modules with a GPL-compatible licence", u.Name))
	}
	if !ok {
		return refusedSymbol(m, u, fmt.Sprintf("the symbol %s is not exported by this kernel", u.Name))
	}
	if f.Modversions() {
		switch m.version(u.Name, f) {
		case differs:
			return resolution{RefusedCRC, x.Owner, fmt.Sprintf("the symbol %s has another type in this kernel: its CRCs differ", u.Name), []string{disagrees(m, u.Name)}}
		case missing:
			if f.Strict {
				return resolution{RefusedCRC, x.Owner, fmt.Sprintf("the module has no CRC for the symbol %s", u.Name), []string{noVersion(m, u.Name)}}
			}
		}
	}
	if x.Namespace != "" && !imports(m, x.Namespace) && f.Config.Get("CONFIG_MODULE_ALLOW_MISSING_NAMESPACE_IMPORTS") != "y" {
		return resolution{RefusedNamespace, x.Owner, fmt.Sprintf("the symbol %s belongs to namespace %s, which the module does not import", u.Name, x.Namespace),
			[]string{fmt.Sprintf("%s: module uses symbol (%s) from namespace %s, but does not import it.", m.Name, u.Name, x.Namespace)}}
	}
	return resolution{verdict: Loads, owner: x.Owner}
}

// refusedSymbol is for what the kernel does not find: a weak symbol may be
// missing, and so may one that the assembler left behind.
func refusedSymbol(m *Module, u Undefined, why string) resolution {
	if u.Weak || leftBehind(m.Machine, u.Name) {
		return resolution{verdict: Loads}
	}
	return resolution{verdict: RefusedSymbol, why: why}
}

// gplCompatible is license_is_gpl_compatible (include/linux/license.h).
func gplCompatible(m *Module) bool {
	l, _ := m.info("license")
	return slices.Contains([]string{"GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL"}, l)
}

// maxImports bounds how many imported namespaces are looked at: the kernel itself
// has fewer.
const maxImports = 1000

// imports says whether a module may use a namespace. One of the form
// module:NAME,NAME* is for the named modules, whose names may have dashes for
// underscores (EXPORT_SYMBOL_FOR_MODULES, 6.16).
func imports(m *Module, namespace string) bool {
	if names, ok := strings.CutPrefix(namespace, "module:"); ok {
		for _, n := range strings.Split(strings.ReplaceAll(names, "-", "_"), ",") {
			if prefix, ok := strings.CutSuffix(n, "*"); ok && strings.HasPrefix(m.Name, prefix) || n == m.Name {
				return true
			}
		}
	}
	imported := m.Info["import_ns"]
	return slices.Contains(imported[:min(len(imported), maxImports)], namespace)
}

// comparison is how a module's CRC of a symbol compares with the kernel's.
type comparison int

const (
	agrees comparison = iota
	differs
	missing     // the module has CRCs, but none of this symbol
	unversioned // it has none at all
)

// version is check_version. A symbol without a CRC, on either side, agrees.
func (m *Module) version(symbol string, f *Facts) comparison {
	x, ok := f.Exports[symbol]
	if !ok || !x.HasCRC {
		return agrees
	}
	crcs := m.crcs
	if m.Extended != nil && f.atLeast(6, 14) {
		crcs = m.extCRCs
	} else if m.Versions == nil {
		return unversioned
	}
	switch crc, ok := crcs[symbol]; {
	case !ok:
		return missing
	case crc != x.CRC:
		return differs
	default:
		return agrees
	}
}
