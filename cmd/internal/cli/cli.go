// Package cli holds the common parts of the programs around the library.
package cli

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
)

// ErrUsage is the error for wrong flags, after the user has got a message.
var ErrUsage = errors.New("usage")

// Main calls run, and ends the process when it fails: with 2 for ErrUsage, with 1 and the error for any other.
func Main(name string, run func(args []string, stdout, stderr io.Writer) error) {
	err := run(os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case errors.Is(err, ErrUsage):
		os.Exit(2)
	default:
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

// URL returns what to type into a browser.
func URL(addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	if ok && (len(tcp.IP) == 0 || tcp.IP.IsUnspecified()) {
		return fmt.Sprintf("http://localhost:%d/", tcp.Port)
	}
	return fmt.Sprintf("http://%v/", addr)
}
