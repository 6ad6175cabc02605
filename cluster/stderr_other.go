//go:build !unix

package cluster

func holdStderr(uintptr) {}
