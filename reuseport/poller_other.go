//go:build !linux

package reuseport

import (
	"net"
	"syscall"
)

var errNoWatch = errUnsupported("the queues of other processes are watched on Linux only")

const edgeTriggered, levelTriggered = 0, 0

type pollEntry struct{}

func findPollEntry(syscall.RawConn) (pollEntry, error)     { return pollEntry{}, errNoWatch }
func (pollEntry) register(int, uint32) error               { return errNoWatch }
func unregister(int) error                                 { return errNoWatch }
func haveWaiting([]syscall.Conn) []bool                    { return nil }
func acceptingFrom(syscall.Conn) (*net.TCPListener, error) { return nil, errNoWatch }
func lend(syscall.Conn, *file) (*Borrowed, error)          { return nil, errNoWatch }
func newBell() (*file, error)                              { return nil, errNoWatch }
func send(syscall.Conn, *Borrowed, byte) error             { return errNoWatch }
func receive(syscall.Conn) (*Borrowed, byte, error)        { return nil, 0, errNoWatch }
func shutdown(syscall.Conn) error                          { return nil }
func listens(syscall.Conn) bool                            { return false }
func localAddr(syscall.Conn) string                        { return "" }
