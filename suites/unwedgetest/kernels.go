package unwedgetest

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/gomega"

	"github.com/unwedge/unwedge/harness/plan"
	"github.com/unwedge/unwedge/images/cache"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/images/mutate"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// Kernel is a kernel argument and an architecture that its kernel may have.
type Kernel struct {
	Arg  string
	Arch arch.Arch
}

// Kernels lists what UNWEDGE_KERNEL names, or the default kernels. It opens
// nothing: a kernel that the user names is listed once for each architecture,
// and Get skips the specs of those that it does not have.
func Kernels() []Kernel {
	var out []Kernel
	named := strings.Split(os.Getenv("UNWEDGE_KERNEL"), ",")
	for _, arg := range named {
		if arg = strings.TrimSpace(arg); arg == "" {
			continue
		}
		for _, a := range arch.All() {
			out = append(out, Kernel{arg, a})
		}
	}
	if len(out) > 0 {
		return out
	}
	for _, a := range arch.All() {
		out = append(out, Kernel{plan.DefaultKernel(a), a})
	}
	return out
}

// EachKernel makes a container for each of Kernels, labelled with its
// architecture.
func EachKernel(define func(k Kernel)) {
	for _, k := range Kernels() {
		ginkgo.Context(fmt.Sprintf("%s, %s", k.Arch, k.Arg), ginkgo.Label(string(k.Arch)), func() { define(k) })
	}
}

// Get finds the kernel, fetching it where needed. It skips the spec where the
// kernel is for another architecture.
func (k Kernel) Get(ctx context.Context) *candidate.Candidate {
	ginkgo.GinkgoHelper()
	c, err := Find(ctx, k.Arg)
	gomega.Expect(err).NotTo(gomega.HaveOccurred(), "resolve the kernel %s", k.Arg)
	if c.Kernel.Arch != k.Arch {
		ginkgo.Skip(fmt.Sprintf("%s is a kernel for %s", k.Arg, c.Kernel.Arch))
	}
	return c
}

// Find resolves a kernel argument as `unwedge boot` does, once per process.
func Find(ctx context.Context, arg string) (*candidate.Candidate, error) {
	return resolve(withProgress(ctx), arg)
}

// resolved remembers the kernels that this process has resolved; reading one
// again would cost seconds.
var resolved sync.Map // argument → *candidate.Candidate

func resolve(ctx context.Context, arg string) (*candidate.Candidate, error) {
	if c, ok := resolved.Load(arg); ok {
		return c.(*candidate.Candidate), nil
	}
	p, err := planner()
	if err != nil {
		return nil, err
	}
	c, err := p.Candidate(ctx, arg, "")
	if err != nil {
		return nil, err
	}
	if dir := os.Getenv("UNWEDGE_MODULES_DIR"); dir != "" && c.ModulesDir == "" {
		c.ModulesDir = dir
	}
	resolved.Store(arg, c)
	return c, nil
}

// Mutant returns the kernel with one function broken on purpose, and with the
// modules of the stock one. It skips the spec where the function cannot be
// changed in this kernel.
func Mutant(ctx context.Context, c *candidate.Candidate, function string, fault mutate.Fault) *candidate.Candidate {
	ginkgo.GinkgoHelper()
	p, err := planner()
	gomega.Expect(err).NotTo(gomega.HaveOccurred())
	key := cache.Key{Kind: "mutant", Inputs: []string{"1", c.Kernel.SHA256, function, fault.String()}}
	dir, err := p.Store.Get(ctx, key, func(ctx context.Context, dir string) error {
		_, err := mutate.WriteFile(ctx, c.Kernel, mutantIn(dir), function, fault)
		return err
	})
	skipRefused(err)
	gomega.Expect(err).NotTo(gomega.HaveOccurred())
	m, err := resolve(ctx, mutantIn(dir))
	gomega.Expect(err).NotTo(gomega.HaveOccurred())
	own := *m
	own.ModulesDir = c.ModulesDir
	return &own
}
