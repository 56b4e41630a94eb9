package unwedgetest

import (
	"context"
	"errors"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/gomega"

	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/images/extmod"
)

// NeedModules skips the spec where no module can be built for the kernel, for
// want of its headers, of a compiler, or of one as new as the kernel's.
func NeedModules(ctx context.Context, c *candidate.Candidate) {
	ginkgo.GinkgoHelper()
	p, err := planner()
	gomega.Expect(err).NotTo(gomega.HaveOccurred())
	h, err := c.FindHeaders(withProgress(ctx), candidate.Options{Cache: p.Store})
	var none *candidate.NotFoundError
	if errors.As(err, &none) {
		ginkgo.Skip(none.Error())
	}
	gomega.Expect(err).NotTo(gomega.HaveOccurred())
	_, _, err = extmod.Probe(withProgress(ctx), extmod.ProbeOptions{Arch: c.Kernel.Arch, Headers: h.Dir, HeadersID: h.ID, Store: p.Store})
	var missing *extmod.MissingToolError
	var failed *extmod.BuildError
	switch {
	case errors.As(err, &missing):
		ginkgo.Skip(missing.Error())
	case errors.As(err, &failed) && failed.OldCompiler():
		ginkgo.Skip(failed.Error())
	}
	gomega.Expect(err).NotTo(gomega.HaveOccurred())
}
