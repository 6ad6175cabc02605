package rendezvous

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// A node has three files in the directory, named by its id and its incarnation.
const (
	lockSuffix   = ".lock"
	socketSuffix = ".sock"
	hiddenPrefix = "." // a socket is bound under a hidden name, and gets its final one when it listens
)

// Node is a node as the names of its files identify it.
type Node struct {
	ID          int
	Incarnation Incarnation
}

// String returns the first part of the names of all files of the node.
func (n Node) String() string { return strconv.Itoa(n.ID) + "-" + n.Incarnation.String() }

// LockName returns the name of the node's lock file, which the node keeps locked for life.
func (n Node) LockName() string { return n.String() + lockSuffix }

// SocketName returns the name of the node's socket.
func (n Node) SocketName() string { return n.String() + socketSuffix }

func (n Node) hidden() string { return hiddenPrefix + n.SocketName() }

// Incarnation is the random 64-bit name of one process, in the names of its files. It is never used again, so the files of
// a process cannot be mistaken for those of a later one.
type Incarnation uint64

// NewIncarnation returns a random incarnation, never 0.
func NewIncarnation() Incarnation {
	var b [8]byte
	for {
		_, _ = rand.Read(b[:]) // never fails
		if n := binary.BigEndian.Uint64(b[:]); n != 0 {
			return Incarnation(n)
		}
	}
}

// String returns 16 hexadecimal digits in lower case.
func (i Incarnation) String() string { return fmt.Sprintf("%016x", uint64(i)) }

// MarshalText returns what String returns.
func (i Incarnation) MarshalText() ([]byte, error) { return []byte(i.String()), nil }

// UnmarshalText accepts the format of String only.
func (i *Incarnation) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 16, 64)
	if err != nil || Incarnation(n).String() != string(text) {
		return fmt.Errorf("incarnation %.40q is not 16 hexadecimal digits in lower case", text)
	}
	*i = Incarnation(n)
	return nil
}

// parseFile returns the node that a file of this name belongs to. A name that the node itself would have written in
// another way (a leading zero, upper case) is no node's: two names for one node would be two nodes.
func parseFile(file string) (n Node, ok bool) {
	base, isSocket := strings.CutSuffix(strings.TrimPrefix(file, hiddenPrefix), socketSuffix)
	if !isSocket {
		base = strings.TrimSuffix(base, lockSuffix)
	}
	id, incarnation, _ := strings.Cut(base, "-")
	var err error
	if n.ID, err = strconv.Atoi(id); err != nil || n.ID < 0 {
		return Node{}, false
	}
	if n.Incarnation.UnmarshalText([]byte(incarnation)) != nil || n.Incarnation == 0 {
		return Node{}, false
	}
	if file != n.LockName() && file != n.SocketName() && file != n.hidden() {
		return Node{}, false
	}
	return n, true
}

// MaxName is the length of the longest name.
const MaxName = 64

// CheckCluster returns an error when name cannot name a cluster. It is an element of a path and the value of a header.
func CheckCluster(name string) error {
	if !IsName(name) || name[0] == '.' {
		return fmt.Errorf("cluster name %.80q: want 1 to %d letters, digits, dots, hyphens and underscores, "+
			"and no dot in front", name, MaxName)
	}
	return nil
}

// IsName reports whether name has 1 to [MaxName] letters, digits, dots, hyphens and underscores.
func IsName(name string) bool {
	return name != "" && len(name) <= MaxName && strings.Trim(name,
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == ""
}
