package cli

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/unwedge/unwedge/harness/plan"
	"github.com/unwedge/unwedge/images/kbuild"
)

// addBuildFlags adds the flags that say how to build a kernel.
func addBuildFlags(cmd *cobra.Command, b *plan.Build) {
	fs := cmd.Flags()
	fs.StringVar(&b.Config, "config", "defconfig", "configuration to start from: a .config FILE, deb:PACKAGE of a kernel, deb:linux-config-SERIES/FLAVOUR, or a make target such as defconfig or tinyconfig")
	fs.StringArrayVar(&b.Fragments, "fragment", nil, "merge this configuration fragment: a FILE, or one of "+strings.Join(kbuild.FragmentNames(), ", ")+" (repeatable)")
	fs.BoolVar(&b.LLVM, "llvm", false, "build with clang and LLVM's tools instead of gcc and binutils")
	fs.IntVarP(&b.Jobs, "jobs", "j", 0, "parallel jobs (default: one per CPU)")
}
