package trees

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/unwedge/unwedge/images/git"
	"github.com/unwedge/unwedge/images/progress"
)

// remote is what a server has: refs by name, to what they point at.
type remote struct {
	refs   map[string]string
	peeled map[string]string // the commits of tags
}

// commitOf is the commit that a ref leads to.
func (r *remote) commitOf(ref, hash string) string {
	if p, ok := r.peeled[ref]; ok {
		return p
	}
	return hash
}

// remote asks a tree's server what it has, once.
func (f *fetch) remote(ctx context.Context, t Tree) (*remote, error) {
	if r, ok := f.remotes[t.Name]; ok {
		return r, nil
	}
	task := progress.From(ctx).Task("look at tree "+t.Name, 0)
	c := f.store.git("ls-remote", "--quiet", "--heads", "--tags", t.Name)
	c.Silence = f.store.silence
	out, err := c.Run(ctx)
	task.Done(err)
	if err := f.failed(ctx, t, err); err != nil {
		return nil, err
	}
	r := &remote{refs: map[string]string{}, peeled: map[string]string{}}
	for line := range strings.Lines(out) {
		hash, ref, ok := strings.Cut(strings.TrimSpace(line), "\t")
		if !ok || !hashRE.MatchString(hash) {
			continue
		}
		if tag, ok := strings.CutSuffix(ref, "^{}"); ok {
			r.peeled[tag] = hash
		} else {
			r.refs[ref] = hash
		}
	}
	if len(r.refs) == 0 { // a page that asks for a login looks like that
		return nil, &FetchError{Tree: t.Name, URL: t.ShownURL(), Reason: "it has no branches and no tags",
			Next: fmt.Sprintf("is that the url of a git repository? change tree %s's url in %s", t.Name, userFile())}
	}
	f.remotes[t.Name] = r
	return r, nil
}

var releaseRE = regexp.MustCompile(`^(?:v|linux-|fedora-|kernel-)?(\d{1,3})\.(\d{1,3})(?:[.-].*)?$`)

// release reads the first two numbers of a version; ok is false for anything
// that is none.
func release(name string) (major, minor int, ok bool) {
	m := releaseRE.FindStringSubmatch(name)
	if m == nil {
		return 0, 0, false
	}
	major, _ = strconv.Atoi(m[1]) // the expression bounds them
	minor, _ = strconv.Atoi(m[2])
	return major, minor, true
}

// milestones are the releases to fetch one after the other before a revision,
// so that an interrupted fetch of the whole history need not begin again. Those
// before one that the store has are left out.
func (f *fetch) milestones(ctx context.Context, r *remote, target string) ([]string, error) {
	const step = 6 // releases; a year's work and more, some hundred megabytes at most
	var tags []string
	for ref := range r.refs {
		if tag, ok := strings.CutPrefix(ref, "refs/tags/"); ok && milestoneRE.MatchString(tag) {
			tags = append(tags, tag)
		}
	}
	slices.SortFunc(tags, compareReleases)
	if _, _, ok := release(target); ok {
		tags = slices.DeleteFunc(tags, func(tag string) bool { return compareReleases(tag, target) >= 0 })
	}
	var out []string
	for i := len(tags) / step * step; i > 0; i -= step {
		ref := "refs/tags/" + tags[i-1]
		there, err := f.present(ctx, r.commitOf(ref, r.refs[ref]))
		if err != nil {
			return nil, err
		}
		if there != "" {
			break
		}
		out = append(out, tags[i-1])
	}
	slices.Reverse(out)
	return out, nil
}

var milestoneRE = regexp.MustCompile(`^v\d{1,3}\.\d{1,3}$`)

func compareReleases(a, b string) int {
	a1, a2, _ := release(a)
	b1, b2, _ := release(b)
	return cmp.Or(cmp.Compare(a1, b1), cmp.Compare(a2, b2))
}

// userFile is UserFile for a reader.
func userFile() string {
	if path, err := UserFile(); err == nil {
		return path
	}
	return userFileName
}

// nextStep says what a user can do about what git said.
func (s *Store) nextStep(t Tree, err *git.Error) string {
	file, said := userFile(), err.Reason()
	has := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(strings.ToLower(said), strings.ToLower(w)) })
	}
	switch {
	case errors.Is(err, unix.ENOSPC):
		return "free some space in the cache, or set UNWEDGE_CACHE to a bigger disk, and try again"
	case has("Could not resolve", "said nothing for", "unable to connect", "Connection refused", "timed out", "unreachable", "Failed to connect", "unable to look up", "transfer closed", "early EOF", "hung up", "Connection reset", "Operation too slow"):
		return fmt.Sprintf("check the network and git's http.proxy and try again, what was fetched is kept; or give tree %s another url, or a local clone as its reference, in %s", t.Name, file)
	case has("could not read Username", "Authentication failed", "Permission denied", "error: 403", "terminal prompts disabled", "Host key verification failed"):
		return fmt.Sprintf("the server wants a login: set up a credential helper or key for git, or give tree %s another url in %s", t.Name, file)
	case has("not found", "does not exist", "does not appear to be a git repository", "is this a git repository", "error: 404"):
		return fmt.Sprintf("has the tree moved? give tree %s its new url in %s", t.Name, file)
	default:
		return fmt.Sprintf("try again, what was fetched is kept; `git -C %s ls-remote %s` shows whether git can reach it", s.GitDir(), t.Name)
	}
}

// notOffered says whether a server refused to hand out a commit by its hash.
func notOffered(said string) bool {
	return strings.Contains(said, "not our ref") || strings.Contains(said, "unadvertised object") || strings.Contains(said, "couldn't find remote ref")
}

// hint helps with a name that is nowhere: what is called alike.
func (f *fetch) hint(ctx context.Context, t Tree, name string) string {
	if shortRE.MatchString(name) {
		same, err := f.store.ask("rev-parse", "--disambiguate="+name).Run(ctx)
		if n := strings.Count(same, "\n"); err == nil && n > 1 {
			return fmt.Sprintf("%d hashes begin like that: give more digits", n)
		}
		return "the beginning of a commit's hash only finds what was fetched: give the whole hash"
	}
	var near []string
	for _, r := range f.remotes {
		for ref := range r.refs {
			short := strings.TrimPrefix(strings.TrimPrefix(ref, "refs/tags/"), "refs/heads/")
			if alike(short, name) {
				near = append(near, short)
			}
		}
	}
	slices.SortFunc(near, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) })
	const few = 5
	near = slices.Compact(near)
	switch {
	case len(near) > 0:
		return "did you mean " + strings.Join(near[:min(few, len(near))], ", ") + "?"
	case t.Versions != "":
		return "its revisions are called like " + t.Versions
	default:
		return "name a tag, a branch or a whole commit hash"
	}
}

// alike says whether two names share their beginning but for a leading v or one
// letter.
func alike(a, b string) bool {
	a, b = strings.TrimPrefix(a, "v"), strings.TrimPrefix(b, "v")
	if a == b || strings.HasPrefix(a, b+"-") || strings.HasPrefix(a, b+".") || strings.HasPrefix(b, a+".") || strings.HasSuffix(a, "/"+b) {
		return true
	}
	if len(a) != len(b) || len(a) < 5 {
		return false
	}
	differ := 0
	for i := range a {
		if a[i] != b[i] {
			differ++
		}
	}
	return differ == 1
}
