package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// job is the one job of a template.
type job struct {
	image   string
	shell   string // the command that runs a step, without the step
	env     []variable
	steps   []string // what the shell of each step runs
	uploads []string // files and folders that must be there after the steps
}

// A variable of the job. Its value may name others, as $NAME, where the system
// expands them.
type variable struct {
	name, value string
	expand      bool
}

// read reads a template: of GitHub if it has "jobs", else of GitLab.
func read(file string) (job, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return job{}, err
	}
	parse := gitlab
	if bytes.Contains(b, []byte("\njobs:")) {
		parse = github
	}
	j, err := parse(b)
	if err == nil {
		err = j.check()
	}
	if err != nil {
		return job{}, fmt.Errorf("read %s: %w", file, err)
	}
	return j, nil
}

func (j job) check() error {
	switch {
	case j.image == "":
		return errors.New("no image")
	case len(j.steps) == 0:
		return errors.New("no shell steps")
	}
	for _, s := range j.steps {
		if strings.Contains(s, "${{") {
			return fmt.Errorf("a step needs an expression of the CI system: use a variable: %q", s)
		}
	}
	return nil
}

// script is the job as a script for bash. A variable that is set already keeps its
// value: so the test replaces what the template leaves to its user.
func (j job) script() string {
	var s strings.Builder
	s.WriteString("set -eo pipefail\n")
	for _, v := range j.env {
		value := quote(v.value)
		if v.expand {
			value = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "`", "\\`", "$(", `\$(`).Replace(v.value) + `"`
		}
		fmt.Fprintf(&s, "[ \"${%[1]s+set}\" ] || %[1]s=%[2]s\nexport %[1]s\n", v.name, value)
	}
	for _, step := range j.steps {
		fmt.Fprintf(&s, "%s %s </dev/null\n", j.shell, quote(step))
	}
	for _, u := range j.uploads {
		fmt.Fprintf(&s, "[ -e %[1]s ] || { echo nothing to upload as %[1]s; exit 1; }\n", quote(u))
	}
	return s.String()
}

// quote makes one word of the shell of s.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// variables puts a template's variables into the order of their names, those that name
// others last.
func variables(m map[string]string, expand bool) []variable {
	var vs []variable
	for name, value := range m {
		vs = append(vs, variable{name: name, value: value, expand: expand})
	}
	slices.SortFunc(vs, func(a, b variable) int {
		if c := strings.Count(a.value, "$") - strings.Count(b.value, "$"); c != 0 {
			return c
		}
		return strings.Compare(a.name, b.name)
	})
	return vs
}

// one gives the only job of a template.
func one[J any](jobs map[string]J) (J, error) {
	var last J
	if len(jobs) != 1 {
		return last, fmt.Errorf("%d jobs, not one", len(jobs))
	}
	for _, j := range jobs {
		last = j
	}
	return last, nil
}

// github reads a workflow of GitHub Actions. Each step has a shell of its own
// (https://docs.github.com/actions/reference/workflow-syntax#jobsjob_idstepsshell).
func github(b []byte) (job, error) {
	var w struct {
		Env  map[string]string
		Jobs map[string]struct {
			Env       map[string]string
			Container struct{ Image string }
			Steps     []struct {
				Run, Uses, If string
				With          map[string]string
			}
		}
	}
	if err := yaml.Unmarshal(b, &w); err != nil {
		return job{}, err
	}
	only, err := one(w.Jobs)
	if err != nil {
		return job{}, err
	}
	j := job{image: only.Container.Image, shell: "bash -e -c", env: append(variables(w.Env, false), variables(only.Env, false)...)}
	for _, s := range only.Steps {
		switch {
		case s.Run != "":
			j.steps = append(j.steps, s.Run)
		case strings.HasPrefix(s.Uses, "actions/upload-artifact@"):
			for _, p := range strings.Fields(s.With["path"]) {
				if s.If != "failure()" && !strings.HasPrefix(p, "~") {
					j.uploads = append(j.uploads, p)
				}
			}
		}
	}
	return j, nil
}

// gitlab reads a pipeline of GitLab. A job's script runs in one shell
// (https://docs.gitlab.com/ci/yaml/script/); its variables may name others.
func gitlab(b []byte) (job, error) {
	type gitlabJob struct {
		Image        string
		Variables    map[string]string
		BeforeScript []string `yaml:"before_script"`
		Script       []string
		AfterScript  []string `yaml:"after_script"`
		Artifacts    struct {
			Paths   []string
			Reports map[string]string
		}
	}
	var jobs map[string]gitlabJob
	if err := yaml.Unmarshal(b, &jobs); err != nil {
		return job{}, err
	}
	only, err := one(jobs)
	if err != nil {
		return job{}, err
	}
	j := job{image: only.Image, shell: "bash -eo pipefail -c", env: variables(only.Variables, true), uploads: only.Artifacts.Paths}
	for _, r := range only.Artifacts.Reports {
		j.uploads = append(j.uploads, r)
	}
	slices.Sort(j.uploads)
	if lines := append(only.BeforeScript, only.Script...); len(lines) > 0 {
		j.steps = []string{strings.Join(lines, "\n")}
	}
	if len(only.AfterScript) > 0 { // in a shell of its own
		j.steps = append(j.steps, strings.Join(only.AfterScript, "\n"))
	}
	return j, nil
}
