// Package hang proves on real guests that unwedge notices, explains and
// survives what a boot can do wrong. Each spec breaks something on purpose and
// knows the truth that the diagnosis must tell.
package hang

import (
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

const (
	// short bounds a spec that boots the tiny initramfs, where the kernel may
	// have to be fetched first; long one whose images may have to be built.
	// The harness bounds the boots themselves.
	short = SpecTimeout(15 * time.Minute)
	long  = SpecTimeout(30 * time.Minute)
)

func TestHang(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "hang")
}
