package candidate

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// signingTree is a build tree whose sign-file appends its arguments.
func signingTree(t *testing.T, config string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		".config":                config,
		"certs/signing_key.pem":  "key",
		"certs/signing_key.x509": "certificate",
		"scripts/sign-file":      "#!/bin/sh\n[ -s \"$4\" ] || { echo no module; exit 1; }\necho \"signed $1 ${2##*/} ${3##*/}\" >>\"$4\"\n",
	} {
		write(t, filepath.Join(dir, name), []byte(text))
	}
	if err := os.Chmod(filepath.Join(dir, "scripts/sign-file"), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestModulesAreSignedAsAnInstallationDoes(t *testing.T) {
	const wanted = "CONFIG_MODULE_SIG_ALL=y\nCONFIG_MODULE_SIG_HASH=\"sha512\"\nCONFIG_MODULE_SIG_KEY=\"certs/signing_key.pem\"\n"
	for name, tc := range map[string]struct{ config, want string }{
		"asked for":      {wanted, "module signed sha512 signing_key.pem signing_key.x509\n"},
		"not asked for":  {strings.Replace(wanted, "ALL=y", "ALL=n", 1), "module "},
		"key in a token": {strings.Replace(wanted, "certs/signing_key.pem", "pkcs11:token=x", 1), "module "},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := newSigner(signingTree(t, tc.config))
			if err != nil {
				t.Fatal(err)
			}
			m := filepath.Join(t.TempDir(), "m.ko")
			write(t, m, []byte("module "))
			if err := s.sign(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(m); err != nil || string(got) != tc.want {
				t.Errorf("the module is %q (%v), want %q", got, err, tc.want)
			}
		})
	}
	s, err := newSigner(signingTree(t, wanted))
	if err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(t.TempDir(), "m.ko")
	write(t, empty, nil)
	if err := s.sign(t.Context(), empty); err == nil || !strings.Contains(err.Error(), "sign module m.ko") || !strings.Contains(err.Error(), "no module") {
		t.Errorf("error %v, want the tool's words", err)
	}
}
