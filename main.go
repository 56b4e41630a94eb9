// Command unwedge boots candidate Linux kernels in QEMU and, when a boot stops
// making progress, says where it is blocked and why.
package main

import (
	"os"

	"github.com/unwedge/unwedge/harness/cli"
)

// version is set by the Makefile.
var version = "devel"

func main() { os.Exit(cli.Main(os.Args[1:], version)) }
