package candidate

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/unwedge/unwedge/images/kernel"
)

// signer signs copied modules. A build signs its modules only when it installs
// them (scripts/Makefile.modinst, CONFIG_MODULE_SIG_ALL), and a kernel in FIPS
// mode panics on one that is not signed.
type signer struct{ tree, hash, key string }

// newSigner returns the signer that a tree's config asks for, nil if it asks for
// none or its key or tool is not there: the modules are then copied as they are.
func newSigner(tree string) (*signer, error) {
	path := firstFile(filepath.Join(tree, ".config"))
	if path == "" {
		return nil, nil
	}
	cfg, err := kernel.ReadConfig(path)
	if err != nil {
		return nil, err
	}
	unquote := func(option string) string { return strings.Trim(cfg.Get(option), `"`) }
	s := &signer{tree: tree, hash: unquote("CONFIG_MODULE_SIG_HASH"), key: unquote("CONFIG_MODULE_SIG_KEY")}
	if cfg.Get("CONFIG_MODULE_SIG_ALL") != "y" || !releaseRE.MatchString(s.hash) {
		return nil, nil
	}
	if !filepath.IsAbs(s.key) {
		s.key = filepath.Join(tree, s.key)
	}
	if firstFile(s.key) == "" || firstFile(s.program()) == "" || firstFile(s.certificate()) == "" {
		return nil, nil
	}
	return s, nil
}

func (s *signer) program() string     { return filepath.Join(s.tree, "scripts", "sign-file") }
func (s *signer) certificate() string { return filepath.Join(s.tree, "certs", "signing_key.x509") }

// sign appends the signature to a module file.
func (s *signer) sign(ctx context.Context, module string) error {
	if s == nil {
		return nil
	}
	cmd := exec.CommandContext(ctx, s.program(), s.hash, s.key, s.certificate(), module)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("sign module %s with %s: %w: %s", filepath.Base(module), s.program(), err, strings.Join(strings.Fields(string(out)), " "))
	}
	return nil
}
