package cli

import (
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/unwedge/unwedge/harness/internal/config"
	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/report"
)

// configured are the values of the configuration files that count here.
func configured() ([]config.Value, error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	home, err := os.UserConfigDir()
	if err != nil {
		home = "" // nobody has a file then
	}
	values, err := config.Find(dir, home)
	if err != nil {
		return nil, usage.Wrap(err)
	}
	return values, nil
}

// configure gives the flags of a command that were not set the values that the
// configuration files have. The scenario is that of boot: other commands take several.
func (a *app) configure(cmd *cobra.Command) error {
	values, err := configured()
	if err != nil {
		return err
	}
	for _, v := range values {
		f := cmd.Flags().Lookup(v.Key.Flag)
		if f == nil || f.Changed || !v.Key.List && isList(f) {
			continue
		}
		for _, text := range v.Values {
			if err := f.Value.Set(text); err != nil {
				return usage.Errorf("%s: %s: %w", v.From(), v.Key.Name, err)
			}
		}
		if v.Tree && v.Key.Flag == "scenarios" {
			a.scenariosFrom = v.From()
		}
	}
	return nil
}

// isList says that a flag may be given several times.
func isList(f *pflag.Flag) bool {
	_, ok := f.Value.(pflag.SliceValue)
	return ok
}

// setting is one line of `unwedge config`.
type setting struct {
	Key    string   `json:"key"`
	Values []string `json:"values"`
	From   string   `json:"from"`
}

func (a *app) configCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Print what the configuration files set, and where",
		Long: `Print each value that a configuration file can set, and where it comes from: flags
win over ` + config.TreeFile + ` in the current directory or at the top of its checkout, which
wins over unwedge/config.yaml in the user's configuration folder.

A tree may be somebody else's, so ` + config.TreeFile + ` cannot name what reaches the host:
` + strings.Join(ownKeys(), ", ") + `. A scenario file that it names cannot either.`,
		Example: `  unwedge config
  unwedge config --json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.showConfig(c, asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON list")
	return cmd
}

func ownKeys() []string {
	var out []string
	for _, k := range config.Keys() {
		if k.Own {
			out = append(out, k.Name)
		}
	}
	return out
}

func (a *app) showConfig(cmd *cobra.Command, asJSON bool) error {
	values, err := configured()
	if err != nil {
		return err
	}
	boot := a.bootCmd().Flags()
	var all []setting
	for _, k := range config.Keys() {
		s := setting{Key: k.Name, Values: []string{}, From: "default"}
		f := cmd.Flags().Lookup(k.Flag)
		if f == nil {
			f = boot.Lookup(k.Flag)
		}
		if f != nil && f.DefValue != "" && f.DefValue != "[]" && f.DefValue != "0" && f.DefValue != "0s" {
			s.Values = []string{f.DefValue}
		}
		for _, v := range values {
			if v.Key.Name == k.Name {
				s.Values, s.From = v.Values, v.From()
			}
		}
		if g := cmd.Flags().Lookup(k.Flag); g != nil && g.Changed {
			s.Values, s.From = []string{g.Value.String()}, "--"+k.Flag
		}
		all = append(all, s)
	}
	if asJSON {
		return report.JSON(a.stdout, all)
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "KEY\tVALUE\tFROM")
	for _, s := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\n", s.Key, console.Sanitize(strings.Join(s.Values, " ")), console.Sanitize(s.From))
	}
	return w.Flush()
}
