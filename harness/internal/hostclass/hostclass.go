// Package hostclass says what kind of machine this is, so that times are compared among
// machines of one kind only. It names no machine.
package hostclass

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"

	"github.com/unwedge/unwedge/harness/internal/console"
)

// Here is the class of this machine: the processor's model and how many CPUs this
// process may use, such as "AMD EPYC 7763 64-Core Processor, 2 CPUs".
var Here = sync.OnceValue(func() string {
	model := ""
	if f, err := os.Open("/proc/cpuinfo"); err == nil {
		defer f.Close() // only read
		model = modelOf(f)
	}
	return fmt.Sprintf("%s, %d CPUs", cmp.Or(model, runtime.GOARCH), runtime.NumCPU())
})

// maxModel bounds a model's name, in characters.
const maxModel = 80

// modelOf reads the model's name in /proc/cpuinfo: "model name" on x86, implementer and
// part on arm64, which has no name there (Documentation/arch/arm64/cpu-feature-registers.rst).
func modelOf(cpuinfo io.Reader) string {
	found := map[string]string{}
	in := bufio.NewScanner(cpuinfo)
	for in.Scan() {
		name, value, ok := strings.Cut(in.Text(), ":")
		if name = strings.TrimSpace(name); ok && found[name] == "" {
			found[name] = strings.Join(strings.Fields(value), " ")
		}
	}
	model := found["model name"]
	if part := found["CPU part"]; model == "" && part != "" {
		model = "CPU implementer " + found["CPU implementer"] + " part " + part
	}
	return console.SanitizeMax(model, maxModel)
}
