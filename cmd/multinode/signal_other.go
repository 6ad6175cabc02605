//go:build !unix

package main

import "os"

// parseSignal is for systems on which run cannot be used.
func parseSignal(string) (os.Signal, error) { return os.Interrupt, nil }
