//go:build !linux

// Package ways has every way to share a port among processes, on Linux.
package ways

// Roles returns none here.
func Roles() map[string]func() error { return nil }
