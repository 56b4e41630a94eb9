package mutate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"

	"github.com/unwedge/unwedge/images/kernel"
	"github.com/unwedge/unwedge/images/kernel/kallsyms"
)

// TruthSuffix is appended to a mutated kernel's name for its Truth, in JSON.
const TruthSuffix = ".truth.json"

// WriteFile mutates a kernel and writes it to out: an ELF vmlinux on x86_64,
// which QEMU boots through PVH, a raw Image on aarch64, whatever the stock
// kernel was packed as. The Truth goes to out + TruthSuffix.
func WriteFile(ctx context.Context, k *kernel.Kernel, out, function string, fault Fault) (*Truth, error) {
	payload, err := k.Payload(ctx)
	if err != nil {
		return nil, err
	}
	table, err := kallsyms.Parse(payload, k.Arch)
	if err != nil {
		return nil, fmt.Errorf("mutate %s: %w", k.Path, err)
	}
	patched, truth, err := Patch(payload, k.Arch, table, function, fault)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(patched)
	truth.Release, truth.BuildID = k.Release, k.BuildID
	truth.SourceSHA256, truth.SHA256 = k.SHA256, hex.EncodeToString(sum[:])
	text, err := json.MarshalIndent(truth, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write ground truth: %w", err)
	}
	if err := replace(out, patched); err != nil {
		return nil, fmt.Errorf("write mutated kernel: %w", err)
	}
	if err := replace(out+TruthSuffix, append(text, '\n')); err != nil {
		return nil, fmt.Errorf("write ground truth: %w", err)
	}
	return truth, nil
}

// replace writes a file whole or not at all.
func replace(path string, b []byte) error {
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, b, 0o644); err != nil {
		os.Remove(tmp)
		return err
	}
	return os.Rename(tmp, path)
}
