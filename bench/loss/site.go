//go:build linux

package loss

import (
	"errors"
	"os"
)

// site is where servers and clients are started: each function calls its argument there.
type site struct {
	server, client func(func() error) error
	addrs          func(addr string) []string // of a server, for the clients
}

// here is this machine as it is.
func here() site {
	call := func(f func() error) error { return f() }
	return site{server: call, client: call, addrs: addrs}
}

// load starts a load on a server of the site, and returns when it has got an answer.
func (at site) load(l load, addr string) (r *runner, err error) {
	l.Addrs = at.addrs(addr)
	err = at.client(func() (err error) { r, err = l.start(); return err })
	if err != nil {
		return nil, err
	}
	if err := r.await(anyAnswer); err != nil {
		return nil, errors.Join(err, r.Stop(os.Kill))
	}
	return r, nil
}
