package bisect

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Verdicts remembers boots by what was booted and how, over all bisections, so
// that the same image is not booted twice for the same question. It is a
// directory with a file for each pair. Several processes may use it at once.
type Verdicts struct {
	// Dir is made when it is needed.
	Dir string
}

// file is named by a digest: image and conditions come from outside.
func (v Verdicts) file(image, conditions string) string {
	sum := sha256.Sum256([]byte(image + "\x00" + conditions))
	return filepath.Join(v.Dir, hex.EncodeToString(sum[:16])+".jsonl")
}

// Boots returns the boots that are remembered, oldest first. conditions is all
// that decides how it was booted. Lines that cannot be read are left out: the
// memory is a help, and no witness.
func (v Verdicts) Boots(image, conditions string) ([]Boot, error) {
	f, err := os.Open(v.file(image, conditions))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read remembered boots: %w", err)
	}
	defer f.Close() // only read
	var out []Boot
	s := bufio.NewScanner(f)
	s.Buffer(nil, maxLine)
	for s.Scan() {
		var b Boot
		if json.Unmarshal(s.Bytes(), &b) == nil && b.Outcome != "" {
			out = append(out, b)
		}
	}
	return out, nil
}

// Add remembers one boot. One write of one line with O_APPEND is whole, however
// many processes write.
func (v Verdicts) Add(image, conditions string, b Boot) error {
	line, err := json.Marshal(b)
	if err != nil {
		return fmt.Errorf("remember a boot: %w", err)
	}
	if err := os.MkdirAll(v.Dir, 0o755); err != nil {
		return fmt.Errorf("remember a boot: %w", err)
	}
	f, err := os.OpenFile(v.file(image, conditions), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("remember a boot: %w", err)
	}
	_, err = f.Write(append(line, '\n'))
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("remember a boot: %w", err)
	}
	return nil
}
