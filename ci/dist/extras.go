package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/goreleaser/nfpm/v2/files"
	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/unwedge/unwedge/harness/cli"
)

// root is the project's, as seen from this folder.
const root = "../.."

// extra writes the man pages and completions to dir, and lists all files of a
// package but the program.
func extra(dir, version string, at time.Time) (files.Contents, error) {
	cmd := cli.Command(version)
	var out files.Contents
	add := func(path, to string) {
		out = append(out, &files.Content{Source: path, Destination: to, FileInfo: &files.ContentFileInfo{Mode: 0o644, MTime: at}})
	}
	pages, err := manPages(cmd, filepath.Join(dir, "man"), at)
	if err != nil {
		return nil, fmt.Errorf("make man pages: %w", err)
	}
	for _, p := range pages {
		add(p, "/usr/share/man/man1/"+filepath.Base(p))
	}
	for _, c := range []struct {
		to    string
		write func(string) error
	}{
		{"/usr/share/bash-completion/completions/unwedge", func(p string) error { return cmd.GenBashCompletionFileV2(p, true) }},
		{"/usr/share/zsh/vendor-completions/_unwedge", cmd.GenZshCompletionFile},
		{"/usr/share/fish/vendor_completions.d/unwedge.fish", func(p string) error { return cmd.GenFishCompletionFile(p, true) }},
	} {
		path := filepath.Join(dir, filepath.Base(c.to))
		if err := c.write(path); err != nil {
			return nil, fmt.Errorf("make completion: %w", err)
		}
		add(path, c.to)
	}
	for from, to := range map[string]string{"LICENSE": "copyright", "README.md": "README.md", "CHANGELOG.md": "CHANGELOG.md"} {
		add(filepath.Join(root, from), "/usr/share/doc/unwedge/"+to)
	}
	return out, nil
}

// manPages writes a page for each command, compressed, and returns their paths.
func manPages(cmd *cobra.Command, dir string, at time.Time) ([]string, error) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	cmd.DisableAutoGenTag = true
	if err := doc.GenManTree(cmd, &doc.GenManHeader{Section: "1", Manual: "unwedge", Source: "unwedge " + cmd.Version, Date: &at}, dir); err != nil {
		return nil, err
	}
	pages, err := filepath.Glob(filepath.Join(dir, "*.1"))
	if err != nil {
		return nil, err
	}
	for i, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			return nil, err
		}
		var b bytes.Buffer
		w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
		if err != nil {
			return nil, err
		}
		if _, err := w.Write(text); err != nil {
			return nil, err
		}
		if err := w.Close(); err != nil {
			return nil, err
		}
		pages[i] = page + ".gz"
		if err := os.WriteFile(pages[i], b.Bytes(), 0o644); err != nil {
			return nil, err
		}
	}
	return pages, nil
}
