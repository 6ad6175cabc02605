//go:build !unix

package proc

import "errors"

func restoreStderr(uintptr) error { return errors.ErrUnsupported }
