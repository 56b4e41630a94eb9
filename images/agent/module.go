package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// faultModule is a module whose insertion goes wrong in the way that its
// parameter names (images/faultmod). The image has it where it is needed.
const faultModule = "/lib/unwedge/unwedge_fault.ko"

// insertFault inserts it in this thread, which then does not come back.
func insertFault(name string) {
	f, err := os.Open(faultModule)
	if err != nil {
		fmt.Println("unwedge agent: load fault module:", err)
		return
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "fault="+name, 0); err != nil {
		fmt.Printf("unwedge agent: load fault module with fault=%s: %v\n", name, err)
	}
}
