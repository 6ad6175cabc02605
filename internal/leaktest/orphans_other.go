//go:build !linux

package leaktest

func adoptOrphans() error { return nil }

func reapOrphans() {}
