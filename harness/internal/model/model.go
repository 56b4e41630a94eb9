// Package model holds the nouns of a kernel that was looked at: its tasks, their
// stacks, what they wait for and who could end that. Whoever finds them, in text or
// in memory, and whoever explains them, shares these values.
package model
