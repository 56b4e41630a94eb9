package main

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/images/kernel/kallsyms"
	"github.com/unwedge/unwedge/scenarios/stage"
)

// Phase is a part of the boot, named by what begins it.
type Phase struct {
	Name string `json:"name"`
	// Functions were entered in it for the first time, in order.
	Functions []Entered `json:"functions"`
	// MaySleep says that the scheduler runs, so that a task can sleep.
	MaySleep bool `json:"may_sleep"`
	// Distro says that only the boot of a distribution comes here.
	Distro bool `json:"distro,omitempty"`
}

// The phases that are spoken of elsewhere.
const (
	noHandlers = "before start_kernel"
	userSpace  = "/init and user space"
	inDracut   = "dracut's user space"
	switchRoot = "switch-root"
	services   = "services"
)

// level is a level of initcalls: its ID in the kernel's symbols, which is also
// that of the calls of the same level that wait for it ("4s"), and functions
// that belong to it in kernels of every arch, for a kernel whose table leaves
// out the symbols of data (CONFIG_KALLSYMS_ALL).
type level struct {
	id, name string
	some     []string
}

// levels are in the order of the boot (include/linux/init.h).
var levels = []level{
	{"0", "pure initcalls", []string{"bpf_jit_charge_init", "ipc_ns_init", "init_mmap_min_addr", "inet_frag_wq_init"}},
	{"1", "core initcalls", []string{"alloc_frozen_cpus", "cpu_hotplug_pm_sync_init", "wq_sysfs_init", "ksysfs_init", "pm_init"}},
	{"2", "postcore initcalls", []string{"irq_sysfs_init", "dma_atomic_pool_init", "audit_init", "bdi_class_init"}},
	{"3", "arch initcalls", []string{"kcmp_cookies_init", "cryptomgr_init", "acpi_pci_init", "dmi_id_init"}},
	{"4", "subsys initcalls", []string{"topology_init", "uid_cache_init", "param_sysfs_init", "user_namespace_sysctl_init"}},
	{"5", "fs initcalls", []string{"iomem_init_inode", "clocksource_done_booting", "tracer_init_tracefs"}},
	{"rootfs", unpacking, []string{"populate_rootfs"}},
	{"6", "device initcalls", []string{"proc_execdomains_init", "register_warn_debugfs", "cpuhp_sysfs_init", "ioresources_init"}},
	{"7", "late initcalls", []string{"kernel_do_mounts_initrd_sysctls_init", "kernel_panic_sysctls_init", "kernel_panic_sysfs_init", "deferred_probe_initcall"}},
}

const (
	unpacking = "initramfs unpack"
	probing   = "driver probes"
)

// landmarks are the functions beside the initcalls whose first entry begins a
// phase.
var landmarks = []struct {
	name, function string
	maySleep       bool
}{
	{"start_kernel, early arch set-up", "start_kernel", false},
	{"start_kernel", "setup_per_cpu_areas", false}, // the first of the generic calls behind setup_arch
	{"kernel_init, early initcalls", "kernel_init", true},
	{userSpace, "free_initmem", true},
}

// symbol is the kernel's symbol for an initcall: module, counter, line,
// function and level (include/linux/init.h, since 5.10).
var symbol = regexp.MustCompile(`^__initcall__kmod_.+?__\d+_\d+_(.+?)(early|con|rootfs|[0-7])s?$`)

// initcalls returns the level of each initcall of a kernel, by function. exact
// is false where the kernel does not tell, and only the functions of levels are
// there.
func initcalls(table *kallsyms.Table) (of map[string]string, exact bool) {
	of = map[string]string{}
	for s := range table.All() {
		m := symbol.FindStringSubmatch(s.Name)
		if m == nil {
			continue
		}
		exact = true
		if before, twice := of[m[1]]; twice && before != m[2] {
			of[m[1]] = "" // functions of one name, in several files
			continue
		}
		of[m[1]] = m[2]
	}
	maps.DeleteFunc(of, func(_, level string) bool { return level == "" })
	if exact {
		return of, true
	}
	for _, l := range levels {
		for _, f := range l.some {
			of[f] = l.id
		}
	}
	return of, false
}

// probeName matches the functions by which drivers take their devices. Which
// of them the driver core calls is not in the trace: names are all there is.
var probeName = regexp.MustCompile(`(^|_)probe(_one)?($|\.)`)

// notProbes are other functions of such a name.
var notProbes = regexp.MustCompile(`[ku]probe|probe_(initcall|init)`)

// pivots is the system call by which systemd enters the root file system. From
// there on it is the root's systemd that runs, and starts services.
var pivots = regexp.MustCompile(`sys_pivot_root$`)

// phases cuts a trace into the parts of the boot. The driver probes of all
// levels are one of them: what is first entered from the entry of a driver's
// probe to the next initcall. What follows the agent's first reports is cut by
// them.
func phases(trace []Entered, levelOf map[string]string) []Phase {
	out := []Phase{{Name: noHandlers}}
	probes := Phase{Name: probing, MaySleep: true}
	at, inProbe, core := -1, false, false
	for _, f := range trace {
		last := out[len(out)-1].Name
		if p, ok := latePhase(f.Stage); ok && last != p.Name && last != services {
			out = append(out, p)
		}
		for _, l := range landmarks {
			if l.function == f.Name {
				out = append(out, Phase{Name: l.name, MaySleep: l.maySleep})
				inProbe = false
			}
		}
		if id, ok := levelOf[f.Name]; ok {
			inProbe = false
			// An initcall can be run once more from elsewhere, later: no way back.
			if i := slices.IndexFunc(levels, func(l level) bool { return l.id == id }); i > at {
				at = i
				out = append(out, Phase{Name: levels[i].name, MaySleep: true})
			}
		}
		core = core || f.Name == "really_probe"
		if core && at >= 0 && f.Stage == "" && out[len(out)-1].Name != userSpace && probeName.MatchString(f.Name) && !notProbes.MatchString(f.Name) {
			inProbe = true
		}
		p := &out[len(out)-1]
		if inProbe {
			p = &probes
		}
		p.Functions = append(p.Functions, f)
		if p.Name == switchRoot && pivots.MatchString(f.Name) {
			out = append(out, Phase{Name: services, MaySleep: true, Distro: true})
		}
	}
	if len(probes.Functions) > 0 {
		i := slices.IndexFunc(out, func(p Phase) bool { return p.Name == userSpace })
		if i < 0 {
			i = len(out)
		}
		out = slices.Insert(out, i, probes)
	}
	return out
}

// latePhase is the phase of a distribution's boot that follows a report.
func latePhase(after stage.Stage) (Phase, bool) {
	name, ok := map[stage.Stage]string{
		stage.Initramfs: inDracut, stage.SwitchRoot: switchRoot, stage.System: services,
	}[after]
	return Phase{Name: name, MaySleep: true, Distro: true}, ok
}

// join puts the late phases of a distribution's boot behind those of the tiny
// one. Dracut's user space begins with its /init, before the first report; what
// the tiny boot enters as well is in its phases already.
func join(tiny, distro []Phase) []Phase {
	seen := map[string]bool{}
	for _, p := range tiny {
		for _, f := range p.Functions {
			seen[f.Name] = true
		}
	}
	out := slices.Clone(tiny)
	dracut := Phase{Name: inDracut, MaySleep: true, Distro: true}
	for _, p := range distro {
		p.Functions = slices.DeleteFunc(slices.Clone(p.Functions), func(f Entered) bool { return seen[f.Name] })
		switch {
		case p.Name == userSpace:
			dracut.Functions = append(p.Functions, dracut.Functions...)
		case p.Name == inDracut:
			dracut.Functions = append(dracut.Functions, p.Functions...)
		case p.Distro:
			if len(dracut.Functions) > 0 {
				out, dracut.Functions = append(out, dracut), nil
			}
			out = append(out, p)
		}
	}
	return out
}

// phaseRank orders the names of phases as the boot passes them.
func phaseRank(name string) int {
	order := []string{noHandlers}
	for _, l := range landmarks[:len(landmarks)-1] {
		order = append(order, l.name)
	}
	for _, l := range levels {
		order = append(order, l.name)
	}
	order = append(order, probing, userSpace, inDracut, switchRoot, services)
	return slices.Index(order, name)
}

// drawable says that a function of a phase may be drawn: part of a function
// that the compiler moved away is none.
func drawable(name string) bool { return !strings.Contains(name, ".cold") }
