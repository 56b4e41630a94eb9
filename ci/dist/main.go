// Command dist makes what users install, from the binaries that the Makefile has
// built: .deb and .rpm packages with man pages and shell completions, and the
// checksums of all. The same source gives the same bytes.
//
// usage: go run . -version VERSION -epoch SECONDS -dir DIR
//
// DIR holds unwedge-linux-amd64 and unwedge-linux-arm64.
package main

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

func main() {
	version := flag.String("version", "", "unwedge's version, as git describes it")
	epoch := flag.Int64("epoch", 0, "the time of all files, in seconds since 1970")
	dir := flag.String("dir", "", "where the binaries are, and the packages go")
	flag.Parse()
	if *version == "" || *epoch <= 0 || *dir == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := dist(*dir, *version, time.Unix(*epoch, 0).UTC()); err != nil {
		fmt.Fprintln(os.Stderr, "dist:", err)
		os.Exit(1)
	}
}

func dist(dir, version string, at time.Time) error {
	extras, err := os.MkdirTemp("", "unwedge-dist-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(extras) // temporary
	files, err := extra(extras, version, at)
	if err != nil {
		return err
	}
	for _, t := range targets() {
		for _, f := range formats() {
			if err := t.pack(f, dir, files, version, at); err != nil {
				return fmt.Errorf("make %s for %s: %w", f.name, t.goarch, err)
			}
		}
	}
	return checksums(dir)
}

// checksums writes SHA256SUMS, as sha256sum prints it.
func checksums(dir string) error {
	const name = "SHA256SUMS"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var lines []string
	for _, e := range entries {
		if e.Name() == name || !e.Type().IsRegular() {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		lines = append(lines, fmt.Sprintf("%x  %s\n", sha256.Sum256(b), e.Name()))
	}
	slices.Sort(lines)
	return os.WriteFile(filepath.Join(dir, name), []byte(strings.Join(lines, "")), 0o644)
}
