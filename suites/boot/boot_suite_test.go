// Package boot is the suite that users run against their own kernels: every
// cell of the distribution boot, and the kernel alone.
package boot

import (
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

func TestBoot(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "boot")
}
