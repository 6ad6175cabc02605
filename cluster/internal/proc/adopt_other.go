//go:build !linux

package proc

import "errors"

func adopt(int) (*Process, error) { return nil, errors.ErrUnsupported }
