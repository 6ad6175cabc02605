//go:build !linux

package reuseport

import (
	"net"
	"syscall"
)

var errNoWatch = errUnsupported("the queues of other processes are watched on Linux only")

const edgeTriggered, levelTriggered = 0, 0

type pollEntry struct{}

func findPollEntry(syscall.RawConn) (pollEntry, error)  { return pollEntry{}, errNoWatch }
func (pollEntry) register(int, uint32) error            { return errNoWatch }
func unregister(int) error                              { return errNoWatch }
func haveWaiting([]*sibling) []bool                     { return nil }
func acceptingFrom(*Borrowed) (*net.TCPListener, error) { return nil, errNoWatch }
func lend(*net.TCPListener, *file) (*Borrowed, error)   { return nil, errNoWatch }
func newBell() (*file, error)                           { return nil, errNoWatch }
func send(syscall.Conn, *Borrowed) error                { return errNoWatch }
func receive(syscall.Conn) (*Borrowed, error)           { return nil, errNoWatch }
func shutdown(syscall.Conn) error                       { return nil }
