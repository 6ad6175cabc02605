//go:build !unix

package boot

func closeOnExec(uintptr) {}
