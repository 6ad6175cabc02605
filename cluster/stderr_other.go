//go:build !unix

package cluster

import "errors"

// restoreStderr is for workers, which there are none of here.
func restoreStderr(uintptr) error { return errors.ErrUnsupported }

func holdStderr(uintptr) {}
