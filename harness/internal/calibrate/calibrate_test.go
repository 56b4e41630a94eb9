package calibrate_test

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/unwedge/unwedge/harness/internal/calibrate"
)

var (
	tcg = calibrate.Class{Arch: "x86_64", Accel: "tcg", QEMU: "7.2.22 (Debian 1:7.2)"}
	kvm = calibrate.Class{Arch: "x86_64", Accel: "kvm", QEMU: "7.2.22 (Debian 1:7.2)"}
)

func learn(t *testing.T, s *calibrate.Store, c calibrate.Class, b calibrate.Boot) {
	t.Helper()
	if err := s.Learn(c, b); err != nil {
		t.Fatal(err)
	}
}

func TestTheUnitIsTheMedianOfTinyBoots(t *testing.T) {
	s := calibrate.Open(filepath.Join(t.TempDir(), "new"))
	if _, ok, err := s.Reference(tcg, "tiny"); ok || err != nil {
		t.Fatalf("an empty store: ok=%v err=%v", ok, err)
	}
	learn(t, s, tcg, calibrate.Boot{Kind: "dracut", Unit: 50 * time.Second, IdleGap: 2 * time.Second, BusyGap: 9 * time.Second})
	if ref, ok, _ := s.Reference(tcg, "dracut"); ok || ref.BusyGap != 9*time.Second {
		t.Errorf("only a dracut boot: ok=%v, gaps %+v", ok, ref)
	}
	for _, u := range []time.Duration{3, 30, 4} {
		learn(t, s, tcg, calibrate.Boot{Kind: "tiny", Unit: u * time.Second})
	}
	ref, ok, err := s.Reference(tcg, "dracut")
	if !ok || err != nil || ref.Unit != 4*time.Second || ref.IdleGap != 2*time.Second {
		t.Errorf("reference %+v ok=%v err=%v, want unit 4s with dracut's gaps", ref, ok, err)
	}
	if _, ok, _ := s.Reference(kvm, "tiny"); ok {
		t.Error("KVM was calibrated by TCG boots")
	}
}

func TestOldBootsAreForgotten(t *testing.T) {
	s := calibrate.Open(t.TempDir())
	learn(t, s, tcg, calibrate.Boot{Kind: "tiny", Unit: time.Second, BusyGap: time.Hour})
	for range 20 {
		learn(t, s, tcg, calibrate.Boot{Kind: "tiny", Unit: time.Second, BusyGap: time.Second})
	}
	if ref, _, _ := s.Reference(tcg, "tiny"); ref.BusyGap != time.Second {
		t.Errorf("gap %s, want the old outlier forgotten", ref.BusyGap)
	}
}

func TestATornFileIsAnErrorAndMadeAnew(t *testing.T) {
	dir := t.TempDir()
	s := calibrate.Open(dir)
	learn(t, s, tcg, calibrate.Boot{Kind: "tiny", Unit: time.Second})
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	if err := os.WriteFile(files[0], []byte(`[{"kind":`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Reference(tcg, "tiny"); err == nil {
		t.Error("a torn file was read without an error")
	}
	learn(t, s, tcg, calibrate.Boot{Kind: "tiny", Unit: 2 * time.Second})
	if ref, ok, err := s.Reference(tcg, "tiny"); !ok || err != nil || ref.Unit != 2*time.Second {
		t.Errorf("after learning: %+v %v %v", ref, ok, err)
	}
}

func TestManyLearnAtOnce(t *testing.T) {
	s := calibrate.Open(t.TempDir())
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if err := s.Learn(tcg, calibrate.Boot{Kind: "tiny", Unit: time.Second}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if _, ok, err := s.Reference(tcg, "tiny"); !ok || err != nil {
		t.Errorf("ok=%v err=%v", ok, err)
	}
}
