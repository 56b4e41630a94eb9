// Command helper is the static program that a guest root needs and Debian does
// not ship, in two roles chosen by the name it is called by:
//
//	sha512hmac   the checker that dracut's 01fips runs against the kernel
//	             (same key, file format and options as libkcapi's sha512hmac)
//	ldd          the shared libraries of an ELF file, read from its headers in
//	             the format of glibc's ldd; dracut-install calls it once per
//	             program, and glibc's runs each program under the emulator
//
// It uses the standard library alone, so that it can be built anywhere.
package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
)

// lddRoot names the environment variable with the directory that ldd takes for "/":
// dracut --sysroot asks for SYSROOT/usr/bin/x, and wants the libraries' names in there.
const lddRoot = "LDD_ROOT"

func main() { os.Exit(run(os.Args)) }

func run(args []string) int {
	role := "helper"
	if len(args) > 0 {
		role = filepath.Base(args[0])
	}
	switch role {
	case "sha512hmac":
		return hmacMain(args[1:], os.Stdout, os.Stderr)
	case "ldd":
		return lddMain(args[1:], cmp.Or(os.Getenv(lddRoot), "/"), os.Stdout, os.Stderr)
	case "ldconfig":
		return ldconfigMain(args[1:], os.Stdout)
	}
	fmt.Fprintf(os.Stderr, "%s: call this program as sha512hmac, ldd or ldconfig\n", role)
	return 2
}
