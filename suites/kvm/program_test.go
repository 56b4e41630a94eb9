package kvm

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/unwedge/unwedge/harness/result"

	. "github.com/unwedge/unwedge/suites/unwedgetest"
)

// program defines the specs of what else the program does.
func program(h *host) {
	It("keeps a hung guest, which inspect reads, until it is told to stop", func(ctx SpecContext) {
		ran := h.run(ctx, "unwedge boot --quiet --out run --keep --memory 256"+h.quote(h.kernel, "--append", "unwedge.fault=child:flock")+`
			[ $? = 1 ] || exit 1
			unwedge inspect --quiet run --tasks || exit 2
			pgrep qemu-system >/dev/null || exit 3
			unwedge stop run || exit 4
			! pgrep qemu-system`)
		Expect(ran.Exit).To(BeZero(), read(ran, "stderr"))
		Expect(h.result(ran, "run")).To(And(HaveHung(), HaveCause(result.CauseUserLock)))
		Expect(read(ran, "stdout")).To(MatchRegexp(`(?m)^ +1 +0 S .*do_wait`))
	}, each)

	It("takes QEMU with it when it is killed", func(ctx SpecContext) {
		ran := h.run(ctx, "unwedge boot --out run"+h.quote(h.kernel, "--append", "unwedge.fault=pipe")+` 2>progress &
			until [[ $(<progress) == *'init at '* ]]; do sleep 0.5; kill -0 $! || exit 1; done
			pgrep qemu-system >/dev/null || exit 2
			kill -KILL $!
			for i in {1..100}; do pgrep qemu-system >/dev/null || exit 0; sleep 0.2; done
			exit 3`)
		Expect(ran.Exit).To(BeZero(), read(ran, "stderr"))
	}, each)

	It("boots two guests at once", func(ctx SpecContext) {
		ran := h.run(ctx, "unwedge boot --quiet --out good"+h.quote(h.kernel)+` &
			unwedge boot --quiet --out bad`+h.quote(h.kernel, "--append", "unwedge.fault=pipe")+`
			wait`)
		Expect(h.result(ran, "good")).To(ReachUserspace())
		Expect(h.result(ran, "bad")).To(And(HaveHung(), HaveCause(result.CauseUserService)))
	}, each)
}
