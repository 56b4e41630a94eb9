package kernel

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

const maxConfig = 4 << 20 // bytes; Debian's is 0.3 MiB

// Config is a kernel's build configuration (.config).
type Config struct {
	values map[string]string
}

// ParseConfig reads a .config. Lines that are neither a setting nor a comment
// are an error.
func ParseConfig(r io.Reader) (*Config, error) {
	c := &Config{values: map[string]string{}}
	sc := bufio.NewScanner(io.LimitReader(r, maxConfig+1))
	sc.Buffer(nil, 64<<10)
	total := 0
	for line := 1; sc.Scan(); line++ {
		text := strings.TrimSpace(sc.Text())
		if total += len(sc.Bytes()) + 1; total > maxConfig {
			return nil, fmt.Errorf("config larger than %d MiB", maxConfig>>20)
		}
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		name, value, ok := strings.Cut(text, "=")
		if !ok || !strings.HasPrefix(name, "CONFIG_") {
			return nil, fmt.Errorf("line %d is not a kernel config setting: %.40q", line, text)
		}
		c.values[name] = unquote(value)
	}
	if err := sc.Err(); err != nil {
		return nil, err
	}
	return c, nil
}

// ReadConfig reads a .config file.
func ReadConfig(path string) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read kernel config: %w", err)
	}
	defer f.Close()
	c, err := ParseConfig(f)
	if err != nil {
		return nil, fmt.Errorf("read kernel config %s: %w", path, err)
	}
	return c, nil
}

func unquote(s string) string {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		return strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(s[1 : len(s)-1])
	}
	return s
}

// Get returns "y", "m", "n" for what is not set, or the value (strings
// without their quotes). The name has its CONFIG_ prefix. A nil Config, one
// nobody knows, gives "".
func (c *Config) Get(name string) string {
	if c == nil {
		return ""
	}
	if v, ok := c.values[name]; ok {
		return v
	}
	return "n"
}

// MarshalJSON writes the settings as one object.
func (c *Config) MarshalJSON() ([]byte, error) { return json.Marshal(c.values) }

// UnmarshalJSON reads what MarshalJSON wrote.
func (c *Config) UnmarshalJSON(b []byte) error { return json.Unmarshal(b, &c.values) }

// Len is the number of settings that are set.
func (c *Config) Len() int {
	if c == nil {
		return 0
	}
	return len(c.values)
}

// embeddedConfig reads what CONFIG_IKCONFIG leaves in the kernel: a gzip
// stream between the marks IKCFG_ST and IKCFG_ED (kernel/configs.c). No mark
// gives a nil Config.
func embeddedConfig(ctx context.Context, payload []byte) (*Config, error) {
	mark := []byte("IKCFG_ST\x1f\x8b")
	i := bytes.Index(payload, mark)
	if i < 0 {
		return nil, nil
	}
	z, err := NewReader(Gzip, bytes.NewReader(payload[i+len("IKCFG_ST"):]))
	if err != nil {
		return nil, fmt.Errorf("corrupt gzip stream: %w", err)
	}
	defer z.Close()
	c, err := ParseConfig(ctxReader{ctx, z})
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, errors.New("truncated gzip stream")
	}
	return c, err
}

// HZ is CONFIG_HZ, the jiffies in a second; 0 where the config is not known.
func (c *Config) HZ() int {
	if c == nil {
		return 0
	}
	n, err := strconv.Atoi(c.Get("CONFIG_HZ"))
	if err != nil || n < 0 || n > 10000 {
		return 0
	}
	return n
}
