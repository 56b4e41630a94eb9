// Package stage names how far a guest has come: what the agent in the guest reports,
// or the console shows, and what a scenario expects. It imports nothing.
package stage

// Stage is how far a guest has come.
type Stage string

// The stages before user space, and Login, which only the console shows.
const (
	Firmware Stage = "firmware" // the machine's firmware runs
	Loader   Stage = "loader"   // a boot loader runs
	Kernel   Stage = "kernel"   // the kernel has control
	Login    Stage = "login"    // somebody may log in
)

// The stages that the agent reports, in the order a boot passes them. A boot with the
// tiny initramfs passes Init and Userspace only.
const (
	Init       Stage = "init"        // /init of the initramfs has control
	Module     Stage = "module"      // an external module was tried, see agentproto.ModuleTried
	Userspace  Stage = "userspace"   // the tiny initramfs did all it came to do
	Initramfs  Stage = "initramfs"   // dracut's systemd runs services
	SwitchRoot Stage = "switch-root" // the root file system is mounted and about to be entered
	System     Stage = "system"      // systemd of the root file system runs services
	MultiUser  Stage = "multi-user"  // multi-user.target is reached
	Failed     Stage = "failed"      // the agent failed, see agentproto.Report.Error
)
