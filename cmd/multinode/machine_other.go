//go:build !linux

package main

import "context"

func systemChecks() []func(context.Context) check { return nil }

func fileLimit() (uint64, bool) { return 0, false }
