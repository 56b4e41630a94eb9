package extmod_test

import (
	"testing"

	"github.com/unwedge/unwedge/images/cache"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/images/extmod"
	"github.com/unwedge/unwedge/images/faultmod"
	"github.com/unwedge/unwedge/images/internal/archivetest"
)

// TestRealKernels builds the probe for kernels of the Debian archive and checks
// it and its spoilt copies, with the network and compilers:
//
//	UNWEDGE_TEST_ARCHIVE='deb:linux-image-cloud-amd64@bookworm deb:linux-image-cloud-arm64@bookworm' \
//	go test -run RealKernels -v ./images/extmod
func TestRealKernels(t *testing.T) {
	archivetest.Each(t, func(t *testing.T, c *candidate.Candidate, store *cache.Store) {
		o := faultmod.For(c, "", store)
		h, err := candidate.ArchiveHeaders(t.Context(), o.Release, o.Version, o.Suite, candidate.Options{Arch: o.Arch, Cache: store})
		if err != nil {
			t.Fatal(err)
		}
		facts, err := extmod.Gather(t.Context(), extmod.Source{Kernel: c.Kernel, Headers: h.Dir, ModulesDir: c.ModulesDir})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %q, %d symbols, %q, %q", facts.Release, facts.Vermagic, len(facts.Exports), facts.Sources, facts.Notes)
		if len(facts.Notes) > 0 {
			t.Error("the kernel's own headers are not as the kernel is")
		}
		good, log, err := extmod.Probe(t.Context(), extmod.ProbeOptions{Arch: o.Arch, Headers: h.Dir, HeadersID: h.ID, Store: store})
		if err != nil {
			t.Fatal(err)
		}
		t.Log(log)
		check(t, good, facts, extmod.Loads)
		for how, want := range map[extmod.Mismatch]extmod.Verdict{
			extmod.WrongVermagic: extmod.RefusedVermagic, extmod.WrongCRC: extmod.RefusedCRC, extmod.UnknownSymbol: extmod.RefusedSymbol,
		} {
			b, _, err := extmod.Spoil(good, how)
			if err != nil {
				t.Error(err)
				continue
			}
			check(t, b, facts, want)
		}
	})
}

func check(t *testing.T, b []byte, facts *extmod.Facts, want extmod.Verdict) {
	t.Helper()
	m, err := extmod.Parse(b)
	if err != nil {
		t.Error(err)
		return
	}
	p := extmod.Check(m, facts)
	t.Logf("%+v", p)
	if p.Verdict != want {
		t.Errorf("%s, want %s", p.Verdict, want)
	}
}
