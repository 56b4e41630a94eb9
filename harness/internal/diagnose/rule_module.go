package diagnose

import (
	"fmt"

	"github.com/unwedge/unwedge/harness/result"
)

// moduleLoad: a module's init or a driver's probe does not return.
func moduleLoad(f facts) *result.Diagnosis {
	if f.end == nil || !f.wait.inModule && !f.wait.inProbe {
		return nil
	}
	cause, what := result.CauseModule, "module initialisation"
	if f.wait.inProbe {
		cause, what = result.CauseProbe, "a driver's probe"
	}
	out := hang(f, cause, result.WhereKernel, asConfidence(!f.wait.guessed))
	mod := ""
	if f.wait.module != "" {
		mod = " of module " + f.wait.module
	}
	driver := ""
	if f.wait.probe != "" {
		driver = " (" + f.wait.probe + ")"
	}
	out.Title = fmt.Sprintf("hang: %s%s does not return%s: blocked in %s", what, mod, driver, f.wait.fn)
	out.Summary = fmt.Sprintf("%s %s%s: %s%s%s does not return", f.chain.who(), stateWord(f.end), f.chain.where(), what, mod, driver)
	out.Remedy = "a driver that waits for hardware or for another part of the kernel: boot with initcall_debug, and with the module blacklisted (module_blacklist=" + orName(f.wait.module) + ") to see whether the boot goes on"
	if f.wait.mech == onIdempotent {
		out.Confidence = result.Likely
		out.Notes = append(out.Notes, "another task, which is not in the dump, is loading the same module")
	}
	if f.wait.mech == onFirmware {
		out.Confidence = result.Likely
		out.Summary += "; it waits for user space to load a firmware file, and gives up after 60 s"
		out.Remedy = "put the firmware that the driver asks for into the initramfs, or boot a kernel without CONFIG_FW_LOADER_USER_HELPER_FALLBACK (firmware_config.force_sysfs_fallback=0)"
	}
	if f.end.State == "R" || f.wait.mech == onHelper {
		out.Confidence = result.Likely // it may still get on
	}
	return out
}
