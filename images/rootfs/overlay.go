package rootfs

import (
	"fmt"

	"github.com/unwedge/unwedge/images/seedlib"
)

// Where the agent and its units are. The initramfs copies stage to /run, which
// systemd takes along when it switches to the root file system; systemd reads
// units from /run/systemd/system there (systemd.unit(5)), so the root file
// system needs no file of unwedge.
const (
	agentDir  = "usr/lib/unwedge"
	stage     = agentDir + "/run"
	agentPath = stage + "/unwedge/agent"
	unitDir   = "usr/lib/systemd/system"
	seedPath  = "usr/lib/" + seedlib.Name
)

// Overlay returns the cpio archive, to be put behind Dracut's, that adds the
// guest agent: it reports "initramfs" when systemd of the initramfs runs
// services, "switch-root" when the root file system is about to be entered,
// "system" when the root's systemd starts services, and "multi-user"
// when multi-user.target is active. The initramfs loads the driver of
// virtio-rng before udev runs, because dracut's FIPS hook comes before udev and
// may need its entropy. The reports never hold up the boot for more than ten
// seconds.
//
// seed, where it is not nil, is a library that every program of the initramfs then
// loads before its own (ld.so(8), /etc/ld.so.preload); see package seedlib.
func Overlay(agent, seed []byte) ([]byte, error) {
	if len(agent) == 0 {
		return nil, fmt.Errorf("build agent archive: the agent is empty")
	}
	a := newArchive()
	if seed != nil {
		a.file(seedPath, 0o755, seed)
		a.file("etc/ld.so.preload", 0o644, []byte("/"+seedPath+"\n"))
	}
	a.file(agentPath, 0o755, agent)
	a.link(agentDir+"/agent", "run/unwedge/agent")
	a.file("etc/modules-load.d/unwedge.conf", 0o644, []byte("virtio_pci\nvirtio_rng\n"))
	for _, u := range initramfsUnits() {
		a.unit(unitDir, u)
	}
	for _, u := range rootUnits() {
		a.unit(stage+"/systemd/system", u)
	}
	b, err := a.bytes()
	if err != nil {
		return nil, fmt.Errorf("build agent archive: %w", err)
	}
	return b, nil
}

// unit is a systemd unit and the target that wants it.
type unit struct{ name, wantedBy, text string }

func (a *archive) unit(dir string, u unit) {
	a.file(dir+"/"+u.name, 0o644, []byte(u.text))
	a.link(dir+"/"+u.wantedBy+".wants/"+u.name, "../"+u.name)
}

func initramfsUnits() []unit {
	return []unit{
		{"unwedge-agent-initramfs.service", "sysinit.target", `[Unit]
Description=unwedge: report that the initramfs runs
DefaultDependencies=no
Before=initrd-cleanup.service

[Service]
Type=simple
ExecStartPre=/bin/cp -a /` + stage + `/. /run/
ExecStart=-/` + agentPath + ` report initramfs
`},
		{"unwedge-agent-switch-root.service", "initrd-switch-root.target", `[Unit]
Description=unwedge: report that the root file system is about to be entered
DefaultDependencies=no
Before=initrd-switch-root.service

[Service]
Type=oneshot
TimeoutStartSec=10
ExecStart=-/` + agentPath + ` report switch-root
`},
	}
}

func rootUnits() []unit {
	return []unit{
		{"unwedge-agent-system.service", "sysinit.target", `[Unit]
Description=unwedge: report that the root file system's services run
DefaultDependencies=no

[Service]
Type=oneshot
TimeoutStartSec=10
ExecStart=-/run/unwedge/agent report system
`},
		// Requires and After together: the job runs only when the target's own
		// has succeeded. DefaultDependencies=no keeps the target from being
		// ordered after the unit that it wants.
		{"unwedge-agent-multi-user.service", "multi-user.target", `[Unit]
Description=unwedge: report that multi-user.target is reached
DefaultDependencies=no
Requires=multi-user.target
After=multi-user.target unwedge-agent-system.service

[Service]
Type=oneshot
ExecStart=/run/unwedge/agent report multi-user
`},
	}
}
