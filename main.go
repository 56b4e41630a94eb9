// Command unwedge boots candidate Linux kernels in QEMU and, when a boot stops
// making progress, says where it is blocked and why.
package main

import (
	"os"
	"runtime/debug"

	"github.com/unwedge/unwedge/harness/cli"
)

// version is set by the Makefile.
var version string

func main() {
	if info, ok := debug.ReadBuildInfo(); ok && version == "" {
		version = info.Main.Version // of `go install MODULE@VERSION`; "(devel)" elsewhere
	}
	os.Exit(cli.Main(os.Args[1:], version))
}
