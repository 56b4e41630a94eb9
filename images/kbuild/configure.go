package kbuild

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/images/kbuild/toolchain"
)

// targetRE is what a configuration target of a tree looks like.
var targetRE = regexp.MustCompile(`^[a-z0-9_]+config$`)

// asking are those that ask a person, or take what is in the output directory
// (scripts/kconfig/Makefile): they begin from nothing that a Spec says.
var asking = []string{
	"config", "oldconfig", "oldaskconfig", "syncconfig", "olddefconfig", "menuconfig", "nconfig", "gconfig", "xconfig",
	"localmodconfig", "localyesconfig", "listnewconfig", "helpnewconfig", "mod2yesconfig", "mod2noconfig", "yes2modconfig", "savedefconfig",
}

// isTarget says that a configuration is a target of the tree that can be started from.
func isTarget(config string) bool {
	return targetRE.MatchString(config) && !slices.Contains(asking, config)
}

// UnknownConfigError says that a configuration is neither a file nor a target.
type UnknownConfigError struct{ Config string }

func (e *UnknownConfigError) Error() string {
	return fmt.Sprintf("kernel configuration %q: no such file: want a .config file, or a target of the tree such as defconfig or tinyconfig", e.Config)
}

// configure leaves a .config in Output that has what was asked for.
func (s Spec) configure(ctx context.Context, m *maker) error {
	if err := m.unstamp(); err != nil {
		return hostFault("configure", err)
	}
	base, err := s.baseText(ctx, m)
	if err != nil {
		return err
	}
	always, err := embedded(reproducible, s.Arch)
	if err != nil {
		return err
	}
	text, wanted := merge(s.withoutForeignFiles(base), append([]Fragment{always}, s.Fragments...))
	path := filepath.Join(s.Output, ".config")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return hostFault("configure", err)
	}
	if err := m.run(ctx, "configure", "olddefconfig"); err != nil {
		return err
	}
	have, err := readSettings(path)
	if err != nil {
		return fmt.Errorf("configure kernel: %w", err)
	}
	unmet := missing(wanted, have)
	if len(unmet) == 0 {
		return nil
	}
	explain(unmet, s.Source, s.Arch, have)
	return unmetError(unmet)
}

// unmetError blames the host where only its programs keep the options from being
// set.
func unmetError(unmet []Unmet) error {
	err := &ConfigError{unmet}
	var tools []string
	for _, u := range unmet {
		if u.tool == "" {
			return err
		}
		tools = append(tools, u.tool)
	}
	return &HostError{
		Kind: ErrToolchain, Step: "configure", Line: strings.TrimPrefix(err.Error(), "configure kernel: "),
		Advice: asCommand(toolchain.InstallCommand(tools...)),
	}
}

// base is the file or the target to start from.
func (s Spec) base() string {
	if s.Config == "" {
		return "defconfig"
	}
	return s.Config
}

// baseText is the text to start from.
func (s Spec) baseText(ctx context.Context, m *maker) (string, error) {
	config := s.base()
	if !isTarget(config) {
		b, err := os.ReadFile(config)
		if errors.Is(err, fs.ErrNotExist) {
			return "", &UnknownConfigError{config}
		}
		if err != nil {
			return "", fmt.Errorf("read kernel configuration: %w", err)
		}
		return string(b), nil
	}
	if err := m.run(ctx, "configure", config); err != nil {
		return "", err
	}
	b, err := os.ReadFile(filepath.Join(s.Output, ".config"))
	if err != nil {
		return "", fmt.Errorf("configure kernel: make %s left no .config: %w", config, err)
	}
	return string(b), nil
}

// keyFiles are options that name files which only a distribution's own tree has;
// its configuration does not build elsewhere with them.
var keyFiles = []string{"CONFIG_SYSTEM_TRUSTED_KEYS", "CONFIG_SYSTEM_REVOCATION_KEYS"}

// withoutForeignFiles empties those of keyFiles whose file the tree does not have.
func (s Spec) withoutForeignFiles(base string) string {
	var b strings.Builder
	for line := range strings.Lines(base) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		value = strings.Trim(value, `"`)
		if slices.Contains(keyFiles, name) && value != "" && !exists(filepath.Join(s.Source, value)) && !(filepath.IsAbs(value) && exists(value)) {
			line = name + "=\"\"\n"
		}
		b.WriteString(line)
	}
	return b.String()
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// readSettings reads a .config as it is written: strings keep their quotes.
func readSettings(path string) (map[string]string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for line := range strings.Lines(string(b)) {
		if m := setRE.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			out[m[1]] = m[2]
		}
	}
	return out, nil
}

// missing are the wanted settings that do not hold.
func missing(wanted []Setting, have map[string]string) []Unmet {
	var out []Unmet
	for _, s := range wanted {
		got, ok := have[s.Name]
		if !ok {
			got = "n"
		}
		if s.Optional || got == s.Value || s.Value == `""` && got == "n" {
			continue
		}
		out = append(out, Unmet{Setting: s, Got: got})
	}
	return out
}
