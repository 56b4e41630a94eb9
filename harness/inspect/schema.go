package inspect

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/unwedge/unwedge/harness/result"
)

//go:embed schema.json
var ownSchema []byte

// JSONSchema describes a Report as JSON, every field of it, as a JSON Schema of
// draft 2020-12. The diagnosis is that of a Result, see result.JSONSchema.
func JSONSchema() (string, error) {
	type object = map[string]json.RawMessage
	var own, defs object
	var theirs struct {
		Defs object `json:"$defs"`
	}
	if err := json.Unmarshal(ownSchema, &own); err != nil {
		return "", fmt.Errorf("read schema: %w", err)
	}
	if err := json.Unmarshal(own["$defs"], &defs); err != nil {
		return "", fmt.Errorf("read schema: %w", err)
	}
	if err := json.Unmarshal([]byte(result.JSONSchema()), &theirs); err != nil {
		return "", fmt.Errorf("read the result's schema: %w", err)
	}
	for name, d := range theirs.Defs {
		if strings.HasPrefix(name, "diagnose-") {
			defs[name] = d
		}
	}
	var err error
	if own["$defs"], err = json.Marshal(defs); err != nil {
		return "", fmt.Errorf("make schema: %w", err)
	}
	b, err := json.MarshalIndent(own, "", "  ")
	if err != nil {
		return "", fmt.Errorf("make schema: %w", err)
	}
	return string(b), nil
}
