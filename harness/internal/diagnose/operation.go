package diagnose

import (
	"strings"

	"github.com/unwedge/unwedge/harness/internal/model"
)

// context finds the larger operation: loading a module, probing a device,
// mounting, running an initcall.
func (w *wait) context(chain []model.Frame) {
	for i, f := range chain {
		switch f.Base() {
		case "do_init_module", "load_module", "__do_sys_finit_module", "__do_sys_init_module", "init_module_from_file", "idempotent_init_module",
			"__x64_sys_finit_module", "__arm64_sys_finit_module", "__x64_sys_init_module", "__arm64_sys_init_module", "sys_finit_module",
			"SyS_finit_module", "sys_init_module", "SyS_init_module":
			w.inModule = true
		case "really_probe", "driver_probe_device", "__driver_probe_device", "bus_probe_device", "__device_attach", "__driver_attach",
			"device_initial_probe", "call_driver_probe":
			w.inProbe = true
			if w.probe == "" {
				w.probe = probeName(chain[:i])
			}
		case "do_one_initcall":
			w.inInitcall = true
			if i > 0 && chain[i-1].Base() != "vectors" { // arm64's exception vectors: an interrupt has just arrived
				w.initcall = chain[i-1].Base()
			}
		case "path_mount", "do_mount", "ksys_mount", "do_new_mount", "vfs_get_tree", "get_tree_bdev", "get_tree_bdev_flags", "mount_bdev", "vfs_kern_mount",
			"vfs_fsconfig_locked", "vfs_cmd_create", "do_mount_root", "mount_fs", "mount_root", "mount_block_root", "mount_root_generic":
			w.inMount = true
			if w.mount == "" && i > 0 {
				w.mount = mountName(chain[:i])
			}
		}
		if w.module == "" && f.Module != "" {
			w.module = f.Module
		}
	}
	if w.inInitcall && w.inModule {
		w.inInitcall = false
	}
}

// probeName is the driver's own probe function: the outermost frame below
// really_probe that is not the bus's.
func probeName(inner []model.Frame) string {
	for i := len(inner) - 1; i >= 0; i-- {
		switch b := inner[i].Base(); b {
		case "platform_probe", "platform_drv_probe", "pci_device_probe", "local_pci_probe", "virtio_dev_probe", "usb_probe_interface",
			"usb_probe_device", "amba_probe", "i2c_device_probe", "spi_probe", "pci_call_probe", "call_driver_probe", "really_probe",
			"__driver_probe_device", "driver_probe_device", "work_on_cpu", "work_on_cpu_key", "scsi_bus_probe", "acpi_device_probe", "auxiliary_bus_probe", "serial_base_match":
		default:
			return b
		}
	}
	return ""
}

// mountName is the file system's fill_super function, else its get_tree or
// mount function.
func mountName(inner []model.Frame) string {
	for _, f := range inner {
		if b := f.Base(); strings.Contains(b, "fill_super") {
			return b
		}
	}
	for i := len(inner) - 1; i >= 0; i-- {
		b := inner[i].Base()
		if strings.HasSuffix(b, "_get_tree") || strings.HasSuffix(b, "_mount") && !strings.HasPrefix(b, "do_") && !strings.HasPrefix(b, "legacy") {
			return b
		}
	}
	return ""
}
