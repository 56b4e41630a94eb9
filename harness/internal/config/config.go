// Package config reads what a person would otherwise type each time: values of flags,
// from a file of the tree and from the user's own.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// TreeFile is the name of the file in a tree.
const TreeFile = ".unwedge.yaml"

// maxFile bounds a file, in bytes.
const maxFile = 64 << 10

// Key is one thing that a file can say.
type Key struct {
	// Name stands in the file, Flag is the flag that it gives a value.
	Name, Flag string
	// List says that the value is a list.
	List bool
	// Own says that only the user's own file may have it: it reaches files of the
	// host, runs a program there, or says where kernels and packages come from.
	Own bool
	// Path says that the value is a path, relative to the file.
	Path bool
}

// Keys are all there are.
func Keys() []Key {
	return []Key{
		{Name: "scenario", Flag: "scenario"},
		{Name: "scenarios", Flag: "scenarios", Path: true},
		{Name: "cmdline", Flag: "append", List: true},
		{Name: "accel", Flag: "accel"},
		{Name: "arch", Flag: "arch"},
		{Name: "entropy", Flag: "entropy"},
		{Name: "image_release", Flag: "image-release"},
		{Name: "memory", Flag: "memory"},
		{Name: "cpus", Flag: "cpus"},
		{Name: "machine", Flag: "machine"},
		{Name: "cpu", Flag: "cpu"},
		{Name: "firmware", Flag: "firmware"},
		{Name: "modules", Flag: "modules", List: true},
		{Name: "without", Flag: "without", List: true},
		{Name: "expect", Flag: "expect"},
		{Name: "deadline", Flag: "deadline"},
		{Name: "root", Flag: "root", Own: true, Path: true},
		{Name: "initrd", Flag: "initrd", Own: true, Path: true},
		{Name: "disk", Flag: "disk", Own: true, Path: true},
		{Name: "mirror", Flag: "mirror", Own: true},
		{Name: "devices", Flag: "device", List: true, Own: true},
		{Name: "qemu_args", Flag: "qemu-arg", List: true, Own: true},
	}
}

// Value is what a file says of a key.
type Value struct {
	Key    Key
	Values []string
	// File and Line are where it stands, Tree says that the file is a tree's, which may
	// be somebody else's.
	File string
	Line int
	Tree bool
}

// From says where a value stands.
func (v Value) From() string { return fmt.Sprintf("%s:%d", v.File, v.Line) }

// Error is a mistake in a file.
type Error struct {
	File string
	Line int // 0 where it is the whole file's
	Text string
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("read %s: %s", e.File, e.Text)
	}
	return fmt.Sprintf("read %s: line %d: %s", e.File, e.Line, e.Text)
}

// Find reads the files that count in a directory: that of the tree, then, for what it
// does not say, the user's own. home is os.UserConfigDir's, "" where there is none.
func Find(dir, home string) ([]Value, error) {
	var out []Value
	if file := inTree(dir); file != "" {
		values, err := read(file, true)
		if err != nil {
			return nil, err
		}
		out = values
	}
	if home == "" {
		return out, nil
	}
	own := filepath.Join(home, "unwedge", "config.yaml")
	values, err := read(own, false)
	if errors.Is(err, fs.ErrNotExist) {
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	for _, v := range values {
		if !slices.ContainsFunc(out, func(o Value) bool { return o.Key.Name == v.Key.Name }) {
			out = append(out, v)
		}
	}
	return out, nil
}

// inTree finds the tree's file: in the directory, or above it up to the top of its
// checkout. Further up are strangers' files.
func inTree(dir string) string {
	here := filepath.Join(dir, TreeFile)
	if exists(here) {
		return here
	}
	for at := dir; ; at = filepath.Dir(at) {
		top := exists(filepath.Join(at, ".git"))
		if file := filepath.Join(at, TreeFile); top && exists(file) {
			return file
		}
		if top || at == filepath.Dir(at) {
			return ""
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func read(path string, tree bool) ([]Value, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	if len(b) > maxFile {
		return nil, &Error{path, 0, fmt.Sprintf("more than %d KiB", maxFile>>10)}
	}
	return parse(path, b, tree)
}

func parse(path string, b []byte, tree bool) ([]Value, error) {
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(b))
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, &Error{path, 0, strings.Join(strings.Fields(err.Error()), " ")}
	}
	top := doc.Content[0]
	if top.Kind != yaml.MappingNode {
		return nil, &Error{path, top.Line, "use a mapping of keys to values"}
	}
	var out []Value
	for i := 0; i+1 < len(top.Content); i += 2 {
		name, value := top.Content[i], top.Content[i+1]
		v, err := one(path, name, value, tree)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(out, func(o Value) bool { return o.Key.Name == v.Key.Name }) {
			return nil, &Error{path, name.Line, v.Key.Name + " appears twice"}
		}
		out = append(out, v)
	}
	return out, nil
}

func one(path string, name, value *yaml.Node, tree bool) (Value, error) {
	keys := Keys()
	i := slices.IndexFunc(keys, func(k Key) bool { return k.Name == name.Value })
	if i < 0 {
		var names []string
		for _, k := range keys {
			names = append(names, k.Name)
		}
		return Value{}, &Error{path, name.Line, fmt.Sprintf("unknown key %.60q: use %s", name.Value, strings.Join(names, ", "))}
	}
	v := Value{Key: keys[i], File: path, Line: name.Line, Tree: tree}
	if v.Key.Own && tree {
		return v, &Error{path, name.Line, fmt.Sprintf("%s reaches the host: a tree's file may not have it: move it to your own configuration, or use --%s", v.Key.Name, v.Key.Flag)}
	}
	nodes := []*yaml.Node{value}
	if v.Key.List && value.Kind == yaml.SequenceNode {
		nodes = value.Content
	}
	for _, n := range nodes {
		if n.Kind != yaml.ScalarNode {
			return v, &Error{path, n.Line, fmt.Sprintf("%s: use %s", v.Key.Name, map[bool]string{true: "a list of words", false: "one value"}[v.Key.List])}
		}
		text := n.Value
		if v.Key.Path {
			if tree && !filepath.IsLocal(text) {
				return v, &Error{path, n.Line, fmt.Sprintf("%s %.100q: a tree's file names only files below it", v.Key.Name, text)}
			}
			if !filepath.IsAbs(text) {
				text = filepath.Join(filepath.Dir(path), text)
			}
		}
		v.Values = append(v.Values, text)
	}
	return v, nil
}
