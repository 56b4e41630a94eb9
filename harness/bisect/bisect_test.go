package bisect_test

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/unwedge/unwedge/harness/bisect"
)

// Each place of the guilty one is found, with no more boots than halving takes
// and one for each end.
func TestFinds(t *testing.T) {
	const n = 37
	for guilty := range n {
		w := newWorld(t, n, guilty)
		r := must(t, w.bisection(t.TempDir()))
		found(t, w, r)
		if most := bits.Len(uint(n-1)) + 2; r.Boots > most || w.booted != r.Boots {
			t.Errorf("guilty %d: %d boots, told %d, want at most %d", guilty, w.booted, r.Boots, most)
		}
		if r.IfSteady < 0.99 || r.Confidence > r.IfSteady || r.Failure.Signature != "hang-f" {
			t.Errorf("guilty %d: confidence %v, failure %+v", guilty, r.Confidence, r.Failure)
		}
		if r.BadBoot == nil || r.GoodBoot == nil || r.BadBoot.Expected || !r.GoodBoot.Expected {
			t.Errorf("guilty %d: boots beside each other: %+v %+v", guilty, r.BadBoot, r.GoodBoot)
		}
		for c, times := range w.built {
			if times != 1 {
				t.Errorf("guilty %d: %s was built %d times", guilty, c, times)
			}
		}
	}
}

// A boot that is still at work at its deadline says nothing of the kernel: it is
// made again. One that always is says as little as another failure does.
func TestSlow(t *testing.T) {
	w := newWorld(t, 32, 20)
	for i := -1; i < 32; i++ {
		w.slow[i] = 1
	}
	dir := t.TempDir()
	r := must(t, w.bisection(dir))
	found(t, w, r)
	if r.Failure.Signature != "hang-f" {
		t.Errorf("looked for %+v", r.Failure)
	}
	for _, s := range r.Steps {
		if s.Verdict == "skip" {
			t.Errorf("%s was left out: %s", s.Candidate, s.Why)
		}
	}
	booted := w.booted
	if again := must(t, w.bisection(dir)); w.booted != booted || *again.First != *r.First {
		t.Errorf("%d boots more when it goes on", w.booted-booted)
	}

	w = newWorld(t, 8, 4)
	w.slow[3] = 100
	if r = must(t, w.bisection(t.TempDir())); r.First != nil || len(r.Suspects) != 2 {
		t.Errorf("one that is always slow: first %v, suspects %v", r.First, r.Suspects)
	}
	w = newWorld(t, 8, 4)
	for i := 4; i < 8; i++ {
		w.slow[i] = 100
	}
	r = must(t, w.bisection(t.TempDir()))
	if found(t, w, r); r.Failure.Outcome != "slow" {
		t.Errorf("slowness itself is looked for: %+v", r.Failure)
	}
}

// Boots that another unwedge or QEMU made are made again; what was built is not.
func TestOtherConditions(t *testing.T) {
	w := newWorld(t, 16, 5)
	dir := t.TempDir()
	b := w.bisection(dir)
	b.Conditions = "unwedge 1"
	found(t, w, must(t, b))
	booted := w.booted
	b.Conditions = "unwedge 2"
	w.events = nil
	r := must(t, b)
	if e := w.events[0]; e.Doing != "note" || !strings.Contains(e.Why, "another unwedge") {
		t.Errorf("told first: %+v", e)
	}
	if found(t, w, r); w.booted != 2*booted || r.Reused != 0 {
		t.Errorf("%d boots with another unwedge, want %d anew; %d reused", w.booted-booted, booted, r.Reused)
	}
	for c, times := range w.built {
		if times != 1 {
			t.Errorf("%s was built %d times", c, times)
		}
	}
	b.Conditions = "unwedge 1"
	if r = must(t, b); w.booted != 2*booted || r.Boots != 0 {
		t.Errorf("%d boots when the first one is back", r.Boots)
	}
}

// The memory over all bisections is a help: one that cannot be used ends nothing.
func TestNoMemory(t *testing.T) {
	w := newWorld(t, 16, 5)
	b := w.bisection(t.TempDir())
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	b.Verdicts.Dir = filepath.Join(file, "verdicts")
	found(t, w, must(t, b))
	told := 0
	for _, e := range w.events {
		if e.Doing == "note" {
			told++
		}
	}
	if told != 1 {
		t.Errorf("told %d times that boots are not remembered", told)
	}
}

// Good ends that make one image are booted once.
func TestGoodEndsWithOneImage(t *testing.T) {
	w := newWorld(t, 16, 5)
	w.goods = 2
	r := must(t, w.bisection(t.TempDir()))
	if found(t, w, r); w.boots["image-"+id(-1)] != 1 {
		t.Errorf("booted %d times", w.boots["image-"+id(-1)])
	}
}

// What is left is told as git tells it, and the good boot beside the answer's is its
// parent's, by way of another commit with the same image too.
func TestToldOnTheWay(t *testing.T) {
	w := newWorld(t, 64, 33)
	w.same[32] = 31
	r := must(t, w.bisection(t.TempDir()))
	found(t, w, r)
	if first, last := r.Steps[0], r.Steps[len(r.Steps)-1]; first.Steps != 6 || last.Steps != 0 || last.Left != 1 {
		t.Errorf("steps left: %d at first, %d in the end", first.Steps, last.Steps)
	}
	if r.LastGood == nil || r.LastGood.ID != id(32) || r.GoodBoot == nil {
		t.Errorf("last good one %v", r.LastGood)
	}
	w = newWorld(t, 64, 33)
	w.rate, w.rng = 0.3, rand.New(rand.NewPCG(1, 2))
	b := w.bisection(t.TempDir())
	b.Options.Intermittent = true
	if r = must(t, b); r.Steps[0].Steps < 12 || r.Steps[len(r.Steps)-1].Steps > 2 {
		t.Errorf("an intermittent one: %d steps left at first, %d in the end", r.Steps[0].Steps, r.Steps[len(r.Steps)-1].Steps)
	}
}

// One candidate needs no search: it is the bad end.
func TestFew(t *testing.T) {
	for _, n := range []int{1, 2} {
		for guilty := range n {
			w := newWorld(t, n, guilty)
			r := must(t, w.bisection(t.TempDir()))
			if found(t, w, r); r.Boots != n+1 || r.LastGood == nil {
				t.Errorf("%d candidates: %d boots, last good %v", n, r.Boots, r.LastGood)
			}
		}
	}
}

// What does not build and what fails in another way says nothing.
func TestSkips(t *testing.T) {
	w := newWorld(t, 64, 40)
	for i := 28; i < 36; i++ {
		w.broken[i] = true
	}
	w.other[46], w.other[47] = true, true
	r := must(t, w.bisection(t.TempDir()))
	found(t, w, r)

	// The answer is not hidden behind one that cannot be judged.
	w = newWorld(t, 64, 40)
	w.broken[39], w.other[40] = true, true
	r = must(t, w.bisection(t.TempDir()))
	if r.First != nil || len(r.Suspects) != 3 {
		t.Fatalf("first %v, suspects %v; want 39, 40 and 41 to be suspects", r.First, r.Suspects)
	}
	for i, s := range r.Suspects {
		if s.ID != id(39+i) {
			t.Errorf("suspect %s, want %s", s.ID, id(39+i))
		}
	}

	w = newWorld(t, 8, 3)
	for i := range 7 {
		w.broken[i] = true
	}
	if r = must(t, w.bisection(t.TempDir())); r.First != nil || len(r.Suspects) != 8 {
		t.Errorf("all skipped: first %v, %d suspects", r.First, len(r.Suspects))
	}
}

func TestAnyFailure(t *testing.T) {
	w := newWorld(t, 32, 20)
	for i := 9; i < 20; i++ {
		w.other[i] = true
	}
	b := w.bisection(t.TempDir())
	b.Options.AnyFailure = true
	if r := must(t, b); r.First == nil || r.First.ID != id(9) {
		t.Errorf("with --any-failure: %v, want %s", r.First, id(9))
	}
}

// An end that is not what it should be ends the bisection with a word on it.
func TestEnds(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(*world)
		says string
	}{
		{"bad end boots", func(w *world) { w.guilty = 99 }, "the bad end c007 (\"change c007\") booted as expected, 3 times of 3"},
		{"good end hangs", func(w *world) { w.guilty = -1 }, "fails like the bad end (hang: in f"},
		{"good end panics", func(w *world) { w.other[-1] = true }, "fails too, but not like the bad end (kernel panic: other"},
		{"bad end broken", func(w *world) { w.broken[7] = true }, "the bad end c007 (\"change c007\") cannot be built: a.c:1: error"},
		{"good end broken", func(w *world) { w.broken[-1] = true }, "the good end c-01"},
		{"same image", func(w *world) { w.same[-1] = 7 }, "build the same image"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, 8, 4)
			c.set(w)
			_, err := w.bisection(t.TempDir()).Run(t.Context())
			if ends := new(bisect.EndsError); errors.As(err, &ends) && (ends.Good == id(-1)) != (c.name == "good end hangs") {
				t.Errorf("%s: a good end fails: %v", err, ends.Good)
			}
			if !errors.As(err, new(*bisect.EndsError)) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v; want %q", err, c.says)
			}
		})
	}
}

// A run that is killed at any moment goes on where it was: it comes to the same
// answer, and nothing is built or booted twice.
func TestGoesOn(t *testing.T) {
	whole := newWorld(t, 50, 33)
	whole.broken[24] = true
	want := must(t, whole.bisection(t.TempDir()))
	for _, alone := range []bool{true, false} {
		w := newWorld(t, 50, 33)
		w.broken[24] = true
		dir := t.TempDir()
		actions, allowed := 0, 0
		var got *bisect.Report
		for allowed = 0; got == nil && allowed < 500; allowed++ {
			// Each run may do one more thing than has been done in all before it.
			ctx, cancel := context.WithCancelCause(t.Context())
			left := 1
			w.before = func(context.Context, string) error {
				w.mu.Lock()
				defer w.mu.Unlock()
				if left == 0 {
					cancel(errKilled)
					return errKilled
				}
				left--
				actions++
				return nil
			}
			b := w.bisection(dir)
			b.Options.Alone = alone
			r, err := b.Run(ctx)
			cancel(nil)
			if err == nil {
				got = r
			} else if !errors.Is(err, errKilled) {
				t.Fatal(err)
			}
		}
		if got == nil || got.First == nil || *got.First != *want.First {
			t.Fatalf("alone %v: %+v after %d runs", alone, got, allowed)
		}
		for c, times := range w.built {
			if times != 1 {
				t.Errorf("alone %v: %s was built %d times", alone, c, times)
			}
		}
		for image, times := range w.boots {
			if times != 1 {
				t.Errorf("alone %v: %s was booted %d times", alone, image, times)
			}
		}
		if w.booted != whole.booted {
			t.Errorf("alone %v: %d boots in %d parts, %d in one", alone, w.booted, allowed, whole.booted)
		}
	}
}

// A journal whose last line is torn is used up to it; one that is none, or of
// another question, is an error and stays as it is.
func TestJournal(t *testing.T) {
	w := newWorld(t, 16, 5)
	dir := t.TempDir()
	must(t, w.bisection(dir))
	name := filepath.Join(dir, "b", "journal.jsonl")
	all, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	once := w.booted
	for cut := len(all) - 1; cut > len(all)/2; cut -= 7 {
		if err := os.WriteFile(name, all[:cut], 0o644); err != nil {
			t.Fatal(err)
		}
		found(t, w, must(t, w.bisection(dir)))
	}
	if w.booted != once {
		t.Errorf("%d boots after torn journals, %d before: the memory of verdicts did not help", w.booted, once)
	}
	b := w.bisection(dir)
	b.Question.Scenario = "other"
	if _, err := b.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "holds another bisection") {
		t.Errorf("another question: %v", err)
	}
	for _, text := range []string{"hello\n", "{}\n", `{"question":{},"more":1}` + "\n", strings.Repeat("x", 17<<20)} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := w.bisection(dir).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "start over") {
			t.Errorf("%.20q: %v", text, err)
		}
		if now, _ := os.ReadFile(name); string(now) != text {
			t.Errorf("%.20q was changed", text)
		}
	}
}

func TestBusy(t *testing.T) {
	w := newWorld(t, 4, 2)
	dir := t.TempDir()
	b := w.bisection(dir)
	second := w.bisection(dir)
	w.before = func(context.Context, string) error {
		w.before = nil
		if _, err := second.Run(t.Context()); !errors.Is(err, bisect.ErrBusy) {
			t.Errorf("a second run at once: %v", err)
		}
		return nil
	}
	b.Options.Alone = true
	found(t, w, must(t, b))
}

// What is done last is done while the bisection is still this run's.
func TestLast(t *testing.T) {
	for _, c := range []struct {
		name   string
		guilty int
		err    error
	}{{"an answer", 2, nil}, {"none", 99, nil}, {"it fails", 2, errors.New("no room for the report")}} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, 4, c.guilty)
			dir := t.TempDir()
			b, second := w.bisection(dir), w.bisection(dir)
			calls := 0
			b.Last = func(_ context.Context, rep *bisect.Report, err error) error {
				calls++
				if (rep == nil) == (err == nil) || errors.As(err, new(*bisect.EndsError)) != (c.guilty == 99) {
					t.Errorf("told %v, %v", rep, err)
				}
				if _, err := second.Run(t.Context()); !errors.Is(err, bisect.ErrBusy) {
					t.Errorf("a second run meanwhile: %v", err)
				}
				return errors.Join(err, c.err)
			}
			rep, err := b.Run(t.Context())
			if calls != 1 || (rep == nil) == (err == nil) || c.err != nil && !errors.Is(err, c.err) {
				t.Errorf("called %d times; %v, %v", calls, rep, err)
			}
		})
	}
}

// A harness that fails says nothing of the kernel: it is tried again, and then
// the bisection stops.
func TestHarnessFails(t *testing.T) {
	w := newWorld(t, 16, 5)
	w.fail = errors.New("qemu: no such file")
	w.fails = func(n int) bool { return n == 3 || n == 4 }
	dir := t.TempDir()
	found(t, w, must(t, w.bisection(dir)))

	w = newWorld(t, 16, 5)
	w.fail = errors.New("qemu: no such file")
	w.fails = func(n int) bool { return n >= 4 }
	dir = t.TempDir()
	_, err := w.bisection(dir).Run(t.Context())
	if !errors.As(err, new(*bisect.HarnessError)) || !errors.Is(err, w.fail) {
		t.Fatal(err)
	}
	w.fails = nil
	found(t, w, must(t, w.bisection(dir)))
	for image, times := range w.boots {
		if times != 1 {
			t.Errorf("%s was judged %d times", image, times)
		}
	}
}

// Commits that do not change the image cost no boot, and another bisection of
// the same kernels uses what this one knows.
func TestSameImage(t *testing.T) {
	w := newWorld(t, 64, 32)
	for i := range 64 {
		if w.same[i] = i &^ 7; i < 8 { // one commit in eight changes the image
			w.same[i] = -1
		}
	}
	dir := t.TempDir()
	r := must(t, w.bisection(dir))
	for image, times := range w.boots {
		if times > 1 {
			t.Errorf("%s was booted %d times", image, times)
		}
	}
	found(t, w, r)
	if r.Boots > 2+4 {
		t.Errorf("%d boots for 8 images", r.Boots)
	}

	before := w.booted
	b := w.bisection(dir)
	b.Dir += "2"
	b.Question.Good = []string{"another"}
	again := must(t, b)
	if found(t, w, again); w.booted != before || again.Reused == 0 {
		t.Errorf("%d boots, %d reused, in a second bisection of the same kernels", w.booted-before, again.Reused)
	}
}

// A hang that shows in some boots: the answer is right as often as it says.
func TestIntermittent(t *testing.T) {
	right, all := 0, 40
	for seed := range all {
		w := newWorld(t, 32, int(rand.New(rand.NewPCG(uint64(seed), 1)).Uint32()%32))
		w.rate, w.rng = 0.5, rand.New(rand.NewPCG(uint64(seed), 2))
		b := w.bisection(t.TempDir())
		b.Options.Intermittent = true
		if r := must(t, b); r.First != nil && r.First.ID == id(w.guilty) {
			right++
		}
	}
	if right < all-2 { // 99 %: more than 2 wrong of 40 have a probability below 1 %
		t.Errorf("%d of %d right", right, all)
	}
}

// What runs in the background changes no answer and saves its time: on a clock of
// the test's, where a build takes 8 s and a boot 10 s.
func TestAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const build, boot = 8 * time.Second, 10 * time.Second
		w := newWorld(t, 128, 77)
		w.before = func(ctx context.Context, what string) error {
			d := build
			if what == "boot" {
				d = boot
			}
			select {
			case <-time.After(d):
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		r := must(t, w.bisection(t.TempDir()))
		found(t, w, r)
		// All but the bad end could be made before they were asked for; the search
		// foresees one of two ways each time, and has time for one.
		if r.Ready < 3 || r.Saved < time.Duration(r.Ready)*(boot-build) || r.Saved > time.Duration(r.Ready)*build {
			t.Errorf("%d candidates were ready, %s saved", r.Ready, r.Saved)
		}
		if most := time.Duration(r.Boots)*(boot+build) - r.Saved; r.Wall > most {
			t.Errorf("it took %s, and %d boots and builds less what was saved take %s", r.Wall, r.Boots, most)
		}
		var says []string
		for _, e := range w.events {
			if e.Step != nil {
				says = append(says, fmt.Sprint(e.Step.Candidate.ID, e.Step.Verdict))
			}
		}
		if len(says) != len(r.Steps) || says[0] != "c127bad" || says[1] != "c-01good" {
			t.Errorf("told %v", says)
		}
	})
}

// What was made of a file that has changed since is not taken for what is there now:
// not a kernel, nor that it could not be read.
func TestFilesChanged(t *testing.T) {
	w := newWorld(t, 16, 5)
	w.broken[15], w.same[5] = true, -1
	b := w.bisection(t.TempDir())
	if _, err := b.Run(t.Context()); !errors.As(err, new(*bisect.EndsError)) {
		t.Fatalf("a bad end that cannot be read: %v", err)
	}
	w.broken[15], w.stamp = false, "mended"
	if r := must(t, b); r.First == nil || r.First.ID != id(6) {
		t.Errorf("first bad %v, want %s: what is in the place of %s is the good end", r.First, id(6), id(5))
	}
	delete(w.same, 5)
	w.stamp = "another kernel in the place of 5"
	r := must(t, b)
	if found(t, w, r); r.Reused == 0 {
		t.Error("no boot was reused, though the other kernels are the same")
	}
}

// A bisection whose files were tidied away tells its answer again, and makes only
// what it has to boot.
func TestFilesGone(t *testing.T) {
	w := newWorld(t, 16, 5)
	w.files = t.TempDir()
	dir := t.TempDir()
	want := must(t, w.bisection(dir))
	if err := os.RemoveAll(w.files); err != nil {
		t.Fatal(err)
	}
	booted := w.booted
	got := must(t, w.bisection(dir))
	if found(t, w, got); w.booted != booted || *got.First != *want.First {
		t.Errorf("%d boots more", w.booted-booted)
	}
	for c, times := range w.built {
		if times != 1 {
			t.Errorf("%s was built %d times", c, times)
		}
	}
	// With no verdict remembered it has to build again.
	if err := os.RemoveAll(filepath.Join(dir, "verdicts")); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "b", "journal.jsonl")
	all, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var kept []string
	for line := range strings.Lines(string(all)) {
		if !strings.Contains(line, `"boot"`) {
			kept = append(kept, line)
		}
	}
	if err := os.WriteFile(name, []byte(strings.Join(kept, "")), 0o644); err != nil {
		t.Fatal(err)
	}
	if found(t, w, must(t, w.bisection(dir))); w.booted != 2*booted {
		t.Errorf("%d boots, want %d", w.booted, 2*booted)
	}
}

// A failure that shows in half of the boots, and is not said to, is not told with
// a confidence that it does not have; --confirm finds it out, on the same journal.
func TestConfirm(t *testing.T) {
	all, sure, wrong, right := 0, 0, 0, 0
	for seed := range 30 {
		w := newWorld(t, 32, int(rand.New(rand.NewPCG(uint64(seed), 3)).Uint32()%32))
		w.rate, w.rng = 0.5, rand.New(rand.NewPCG(uint64(seed), 4))
		dir := t.TempDir()
		b := w.bisection(dir)
		r, err := b.Run(t.Context())
		if errors.As(err, new(*bisect.EndsError)) { // the bad end was lucky three times
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		all++
		if r.First == nil || r.First.ID != id(w.guilty) {
			wrong++
			if r.Confidence >= 0.99 {
				sure++
			}
		}
		b.Options.Confirm = true
		booted := w.booted
		if r = must(t, b); r.First != nil && r.First.ID == id(w.guilty) {
			right++
		}
		if r.Confidence < 0.99 {
			t.Errorf("seed %d: confirmed with %v", seed, r.Confidence)
		}
		if r.Reused == 0 || w.booted == booted && r.Boots > 0 {
			t.Errorf("seed %d: nothing of the first part was used again", seed)
		}
	}
	if wrong == 0 {
		t.Error("no search was led astray: this test shows nothing")
	}
	if sure > wrong/2 {
		t.Errorf("%d of %d wrong answers were called sure", sure, wrong)
	}
	t.Logf("%d of %d wrong, %d of them called sure; %d right when confirmed", wrong, all, sure, right)
	if right < all*3/4 { // 90 % in simulation
		t.Errorf("%d of %d right with Confirm", right, all)
	}
}

// One boot that is taken for the hang by mistake leads every bisection astray; to
// confirm the answer is to see that.
func TestConfirmSeesAMistake(t *testing.T) {
	w := newWorld(t, 200, 20)
	w.taken[11] = 1
	b := w.bisection(t.TempDir())
	r := must(t, b)
	if r.First == nil || r.First.ID != id(11) {
		t.Fatalf("first bad %v: the mistake is not on the way, and this test shows nothing", r.First)
	}
	b.Options.Confirm = true
	found(t, w, must(t, b))
}

// A kernel that is done as its build is told to end is not made again.
func TestDoneWhenEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 64, 20)
		ended := 0
		w.before = func(ctx context.Context, what string) error {
			if what == "boot" {
				time.Sleep(time.Second)
				return nil
			}
			select {
			case <-time.After(10 * time.Second):
			case <-ctx.Done():
				ended++
			}
			return nil
		}
		b := w.bisection(t.TempDir())
		found(t, w, must(t, b))
		b.Conditions = "another unwedge" // so that all is booted once more
		found(t, w, must(t, b))
		if ended == 0 {
			t.Fatal("no build was told to end: this test shows nothing")
		}
		for c, times := range w.built {
			if times != 1 {
				t.Errorf("%s was built %d times", c, times)
			}
		}
	})
}

// What is being made ahead when it is asked for has to hurry.
func TestHurry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 16, 7)
		w.before = func(ctx context.Context, what string) error {
			d := time.Second
			if what == "build" {
				d = time.Minute
			}
			w.mu.Lock()
			hurry := w.hurries[len(w.hurries)-1]
			w.mu.Unlock()
			if what == "boot" {
				hurry = nil
			}
			select {
			case <-time.After(d):
			case <-hurry:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			return nil
		}
		r := must(t, w.bisection(t.TempDir()))
		found(t, w, r)
		hurried := 0
		for _, h := range w.hurries {
			select {
			case <-h: // nil blocks: it was wanted from the start
				hurried++
			default:
			}
		}
		if hurried == 0 {
			t.Error("no build was told to hurry")
		}
	})
}
