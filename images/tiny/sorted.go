package tiny

import (
	"maps"
	"slices"
)

// sorted returns the map's keys in order, so that an archive is reproducible.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
