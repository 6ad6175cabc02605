//go:build !linux

package cluster

func isWorkerProcess(int) bool { return false }
