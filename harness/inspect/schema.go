package inspect

import _ "embed"

//go:embed schema.json
var schemaJSON string

// JSONSchema describes a Report as JSON, every field of it, as a JSON Schema of
// draft 2020-12.
func JSONSchema() string { return schemaJSON }
