package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Each template that users copy can be run: ci/dist-test.sh does.
func TestTemplates(t *testing.T) {
	files, err := filepath.Glob("../templates/*.yml")
	if err != nil || len(files) < 2 {
		t.Fatalf("templates %q, %v", files, err)
	}
	for _, f := range files {
		j, err := read(f)
		if err != nil {
			t.Error(err)
			continue
		}
		script := j.script()
		for _, want := range []string{"UNWEDGE_PACKAGE=", "apt-get install -y ./unwedge.deb", "unwedge matrix", "junit.xml' ] ||"} {
			if !strings.Contains(script, want) {
				t.Errorf("%s: no %q in\n%s", f, want, script)
			}
		}
		if !strings.HasPrefix(j.image, "debian:") {
			t.Errorf("%s: image %q: the test has Debian's only", f, j.image)
		}
		if out, err := exec.CommandContext(t.Context(), "bash", "-n", "-c", script).CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", f, err, out)
		}
	}
}

const gitlabExample = `boot:
  image: debian:bookworm
  variables: {A: $B/it's, B: "x"}
  before_script: [cd .]
  script:
    - V='a b'
    - echo "$A $V" >out
  artifacts: {paths: [out], reports: {junit: j.xml}}
`

const githubExample = `on: [push]
jobs:
  boot:
    container: {image: debian:bookworm}
    env: {A: $B/it's}
    steps:
      - uses: actions/checkout@v4
      - run: |
          echo "$A" >out
      - run: echo "$V" >>out
      - uses: actions/upload-artifact@v4
        with: {path: out}
`

func TestScriptDoesWhatARunnerDoes(t *testing.T) {
	for _, tt := range []struct{ name, template, more, want, wantErr string }{
		{name: "one shell, variables that name others", template: gitlabExample, more: "touch j.xml", want: "x/it's a b\n"},
		{name: "a shell a step, variables as they are", template: githubExample, want: "$B/it's\n\n"},
		{name: "a failing step", template: strings.Replace(githubExample, "echo \"$A\" >out", "false; true", 1), wantErr: "exit status 1"},
		{name: "a failing end of a pipe", template: strings.Replace(gitlabExample, "V='a b'", "false | true", 1), wantErr: "exit status 1"},
		{name: "nothing to upload", template: gitlabExample, wantErr: "nothing to upload as j.xml"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "t.yml")
			if err := os.WriteFile(file, []byte(tt.template), 0o644); err != nil {
				t.Fatal(err)
			}
			j, err := read(file)
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), "bash", "-c", tt.more+"\n"+j.script())
			cmd.Dir = dir
			out, err := cmd.CombinedOutput()
			if got := string(out); tt.wantErr != "" {
				if err == nil || !strings.Contains(got+err.Error(), tt.wantErr) {
					t.Fatalf("%v: %s", err, got)
				}
				return
			}
			if err != nil {
				t.Fatalf("%v: %s\n%s", err, out, j.script())
			}
			if got, _ := os.ReadFile(filepath.Join(dir, "out")); string(got) != tt.want {
				t.Errorf("out has %q, not %q", got, tt.want)
			}
		})
	}
}

func TestRefusedTemplates(t *testing.T) {
	for want, template := range map[string]string{
		"no image":       "boot: {script: [true]}\n",
		"no shell steps": "boot: {image: debian:sid}\n",
		"2 jobs":         gitlabExample + "again: {}\n",
		"an expression":  strings.Replace(githubExample, "$V", "${{ github.sha }}", 1),
	} {
		file := filepath.Join(t.TempDir(), "t.yml")
		if err := os.WriteFile(file, []byte(template), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := read(file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, not %q", err, want)
		}
	}
}

func TestVariablesThatNameOthersComeLast(t *testing.T) {
	var names []string
	for _, v := range variables(map[string]string{"A": "$B", "B": "x", "C": "y"}, true) {
		names = append(names, v.name)
	}
	if want := []string{"B", "C", "A"}; !slices.Equal(names, want) {
		t.Errorf("%q, not %q", names, want)
	}
}
