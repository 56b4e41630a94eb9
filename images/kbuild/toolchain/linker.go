package toolchain

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// emulation is a mode of the linker that a kernel's build uses.
type emulation struct {
	// One of the names is enough: bare-metal toolchains and those of distributions
	// differ.
	names []string
	flags []string // the compiler's, for an object of it
	use   string
}

// links are the ways in which a kernel's build links, each with a linker script of
// its own inside binutils' ldscripts: .xr, .xs and .x.
var links = []struct{ name, flag string }{{"relocatable", "-r"}, {"shared", "-shared"}, {"static", "-estart"}}

// linker asks the linker which emulations it has, and then tries them: a list says
// nothing of scripts that are missing.
func (c *checker) linker(ctx context.Context) error {
	if c.isFound(c.tools.LD) || c.isFound(c.tools.CC) {
		return nil
	}
	listed := c.listed(ctx)
	for i, e := range compilersFor(c.Arch).emulations {
		name := e.names[0]
		if len(listed) > 0 {
			at := slices.IndexFunc(e.names, func(n string) bool { return slices.Contains(listed, n) })
			if at < 0 {
				c.found(c.tools.LD, fmt.Sprintf("it has no emulation %s, only %s", strings.Join(e.names, " or "), strings.Join(listed, ", ")))
				continue
			}
			name = e.names[at]
		}
		object := fmt.Sprintf("%s/link%d.o", c.dir, i)
		if out, err := c.compile(ctx, object, e.flags...); err != nil {
			if ctx.Err() == nil {
				c.found(c.tools.CC, fmt.Sprintf("it cannot compile %s code: %s", strings.Join(e.flags, " "), first(out, err)))
			}
			continue
		}
		c.tryLinks(ctx, name, object)
	}
	return nil
}

// listed reads the emulations that `ld -V` lists; none for LLVM's linker, which
// does not say.
func (c *checker) listed(ctx context.Context) []string {
	out, err := c.run(ctx, c.tools.LD, "-V")
	if err != nil {
		return nil
	}
	_, list, ok := strings.Cut(out, "Supported emulations:")
	if !ok {
		return nil
	}
	return strings.Fields(list)
}

func (c *checker) tryLinks(ctx context.Context, name, object string) {
	for _, l := range links {
		out, err := c.run(ctx, c.tools.LD, "-m", name, l.flag, "-z", "noexecstack", "-o", c.dir+"/linked", object)
		if err == nil || ctx.Err() != nil {
			continue
		}
		if strings.Contains(out, "cannot open linker script file") {
			c.foundAs(Broken, c.tools.LD, fmt.Sprintf("the linker script of emulation %s is missing, its package is broken: %s", name, first(out, err)))
		} else {
			c.found(c.tools.LD, fmt.Sprintf("a %s link for %s fails: %s", l.name, name, first(out, err)))
		}
		return // one is enough to know
	}
}
