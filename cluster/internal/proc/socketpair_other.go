//go:build !unix

package proc

import (
	"errors"
	"net"
	"os"
)

func socketPair() (net.Conn, *os.File, error) { return nil, nil, errors.ErrUnsupported }
