//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package rendezvous

import (
	"errors"
	"io/fs"
	"os"
)

// supported reports whether this system has flock(2). It has not, so Open fails, and nothing below is called.
const supported = false

const maxSocketPath = 0

const (
	shared    = 0
	exclusive = 1
)

func flock(*os.File, int) (bool, error) { return false, errors.ErrUnsupported }

func rmdir(string) error { return errors.ErrUnsupported }

func owner(fs.FileInfo) int { return -1 }
