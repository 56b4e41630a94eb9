// Package trees knows where kernels come from: a catalogue of git trees, which
// the user can extend, and one store that what is fetched of them shares.
package trees

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net/mail"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Tree is one git repository with kernels.
type Tree struct {
	Name    string `yaml:"name" json:"name"`
	Purpose string `yaml:"purpose" json:"purpose"`
	URL     string `yaml:"url" json:"url"`
	// Branch is what is taken where no revision is named; "" where a
	// revision must be.
	Branch string `yaml:"branch" json:"branch,omitempty"`
	// Versions are examples of how its revisions are called, for a reader.
	Versions string `yaml:"versions" json:"versions,omitempty"`
	// Base is the tree that this one is built on: a revision that is not
	// here is looked for there.
	Base string `yaml:"base" json:"base,omitempty"`
	// Rebuilt says that its branches are rebuilt from time to time: a
	// branch is not what it was last week, a commit may be gone.
	Rebuilt bool `yaml:"rebuilt" json:"rebuilt,omitempty"`
	// Packaging says that it holds a distribution's patches and
	// configurations and no kernel source, so it cannot be built.
	Packaging bool `yaml:"packaging" json:"packaging,omitempty"`
	// Reference is a local clone whose objects need not be fetched. It must
	// stay where it is.
	Reference string `yaml:"reference" json:"reference,omitempty"`
	// List is the mailing list of its developers, an address.
	List string `yaml:"list" json:"list,omitempty"`
	// Patchwork is where the list's patches are tracked, Tracker where bugs are.
	Patchwork string `yaml:"patchwork" json:"patchwork,omitempty"`
	Tracker   string `yaml:"tracker" json:"tracker,omitempty"`
	// Regzbot says that the kernel's regression bot tracks regressions in it: in
	// mainline, stable and linux-next.
	Regzbot bool `yaml:"regzbot" json:"regzbot,omitempty"`
}

// Catalogue is a list of trees.
type Catalogue []Tree

// UnknownTreeError says that no tree has a name.
type UnknownTreeError struct {
	Name  string
	Known []string
}

func (e *UnknownTreeError) Error() string {
	return fmt.Sprintf("no kernel tree %q: there are %s; add your own to %s", e.Name, strings.Join(e.Known, ", "), userFileName)
}

//go:embed catalogue.yaml
var builtin []byte

// Builtin is the catalogue that comes with unwedge.
func Builtin() Catalogue {
	c, err := Catalogue(nil).With(bytes.NewReader(builtin))
	if err != nil {
		panic("trees: the built-in catalogue is broken: " + err.Error()) // a test reads it
	}
	return c
}

const userFileName = "$XDG_CONFIG_HOME/unwedge/trees.yaml"

// UserFile is where a user's own trees are: trees.yaml in the directory unwedge
// of the user's configuration.
func UserFile() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("find the configuration directory: %w", err)
	}
	return filepath.Join(dir, "unwedge", "trees.yaml"), nil
}

const maxFile = 1 << 20

// Load returns the built-in catalogue with the user's file on top. An empty
// path means UserFile, which need not exist.
func Load(path string) (Catalogue, error) {
	named := path != ""
	if !named {
		var err error
		if path, err = UserFile(); err != nil {
			return Builtin(), nil //nolint:nilerr // no home: there is no file either
		}
	}
	f, err := os.Open(path)
	if !named && errors.Is(err, os.ErrNotExist) {
		return Builtin(), nil
	}
	if err != nil {
		return nil, fmt.Errorf("read trees: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("it has more than %d MiB", maxFile>>20)
	}
	if err != nil {
		return nil, fmt.Errorf("read trees %s: %w", path, err)
	}
	c, err := Builtin().With(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("read trees %s: %w", path, err)
	}
	return c, nil
}

// entry is a Tree as a file gives it: what is not there stays as it was.
type entry struct {
	Name      string  `yaml:"name"`
	Purpose   *string `yaml:"purpose"`
	URL       *string `yaml:"url"`
	Branch    *string `yaml:"branch"`
	Versions  *string `yaml:"versions"`
	Base      *string `yaml:"base"`
	Rebuilt   *bool   `yaml:"rebuilt"`
	Packaging *bool   `yaml:"packaging"`
	Reference *string `yaml:"reference"`
	List      *string `yaml:"list"`
	Patchwork *string `yaml:"patchwork"`
	Tracker   *string `yaml:"tracker"`
	Regzbot   *bool   `yaml:"regzbot"`
}

// treesFile is a whole file. Its type's name is in the errors for a reader.
type treesFile struct {
	Trees []entry `yaml:"trees"`
}

// With reads a file of trees and returns the catalogue with them: a tree of a
// known name changes the fields that the file gives, any other is added. Fields
// that are not known are errors.
func (c Catalogue) With(r io.Reader) (Catalogue, error) {
	var file treesFile
	dec := yaml.NewDecoder(r)
	dec.KnownFields(true)
	switch err := dec.Decode(&file); {
	case errors.Is(err, io.EOF):
		return nil, errors.New("the file is empty: it must hold a list named trees")
	case err != nil:
		return nil, errors.New(strings.Join(strings.Fields(err.Error()), " "))
	case len(file.Trees) == 0:
		return nil, errors.New("no trees in the file: it must hold a list named trees")
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the list named trees: a file holds one document")
	}
	out := slices.Clone(c)
	seen := map[string]bool{}
	for _, e := range file.Trees {
		if !nameRE.MatchString(e.Name) {
			return nil, fmt.Errorf("tree name %q: use lower-case letters, digits and dashes", e.Name)
		}
		if e.Name == reserved {
			return nil, fmt.Errorf("tree name %q: `unwedge trees` uses that word: choose another", e.Name)
		}
		if seen[e.Name] {
			return nil, fmt.Errorf("tree %s appears twice", e.Name)
		}
		seen[e.Name] = true
		i := slices.IndexFunc(out, func(t Tree) bool { return t.Name == e.Name })
		if i < 0 {
			out, i = append(out, Tree{Name: e.Name}), len(out)
		}
		e.apply(&out[i])
	}
	return out, out.check()
}

func (e entry) apply(t *Tree) {
	set(&t.Purpose, e.Purpose)
	set(&t.URL, e.URL)
	set(&t.Branch, e.Branch)
	set(&t.Versions, e.Versions)
	set(&t.Base, e.Base)
	set(&t.Rebuilt, e.Rebuilt)
	set(&t.Packaging, e.Packaging)
	set(&t.Reference, e.Reference)
	set(&t.List, e.List)
	set(&t.Patchwork, e.Patchwork)
	set(&t.Tracker, e.Tracker)
	set(&t.Regzbot, e.Regzbot)
}

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

// nameRE: a tree's name is part of a ref's and of a command line.
var nameRE = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,40}$`)

// reserved cannot name a tree: `unwedge trees fetch` fetches.
const reserved = "fetch"

func (c Catalogue) check() error {
	for _, t := range c {
		if err := checkURL(t.URL); err != nil {
			return fmt.Errorf("tree %s: %w", t.Name, err)
		}
		if t.Branch != "" && !revRE.MatchString(t.Branch) {
			return fmt.Errorf("tree %s: branch %q is not a branch name", t.Name, t.Branch)
		}
		if t.Reference != "" && (!filepath.IsAbs(t.Reference) || strings.ContainsAny(t.Reference, "\n\"")) {
			return fmt.Errorf("tree %s: reference %q is not an absolute path", t.Name, t.Reference)
		}
		if a, err := mail.ParseAddress(t.List); t.List != "" && (err != nil || a.Address != t.List) {
			return fmt.Errorf("tree %s: list %q is not a mail address", t.Name, t.List)
		}
		// A chain of bases that comes back to itself would have no end.
		for at, steps := t, 0; at.Base != ""; steps++ {
			next, err := c.Find(at.Base)
			if err != nil {
				return fmt.Errorf("tree %s: base: %w", t.Name, err)
			}
			if at = next; steps > len(c) {
				return fmt.Errorf("tree %s: its bases form a circle", t.Name)
			}
		}
	}
	return nil
}

// Find returns the named tree, or an *UnknownTreeError.
func (c Catalogue) Find(name string) (Tree, error) {
	i := slices.IndexFunc(c, func(t Tree) bool { return t.Name == name })
	if i < 0 {
		return Tree{}, &UnknownTreeError{name, c.Names()}
	}
	return c[i], nil
}

// Names lists the trees' names in order.
func (c Catalogue) Names() []string {
	names := make([]string, len(c))
	for i, t := range c {
		names[i] = t.Name
	}
	return names
}

// Caveat is what a user of the tree should know, "" for nothing.
func (t Tree) Caveat() string {
	switch {
	case t.Packaging:
		return "it has packaging and no kernel source: bisect its kernels with --packages"
	case t.Rebuilt:
		return "its branches are rebased from time to time: use tags, or a commit while it is there"
	default:
		return ""
	}
}
