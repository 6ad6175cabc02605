package peer

import (
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

// node is what the names of a node's files say of it.
type node struct {
	id          int
	incarnation Incarnation
}

func (n node) String() string { return strconv.Itoa(n.id) + "-" + n.incarnation.String() }
func (n node) lock() string   { return n.String() + lockSuffix }
func (n node) socket() string { return n.String() + socketSuffix }
func (n node) hidden() string { return hiddenPrefix + n.socket() }

// parseFile returns the node that a file of this name belongs to. A name that the node itself would have written in
// another way (a leading zero, upper case) is no node's: two names for one node would be two nodes.
func parseFile(file string) (n node, ok bool) {
	base, isSocket := strings.CutSuffix(strings.TrimPrefix(file, hiddenPrefix), socketSuffix)
	if !isSocket {
		base = strings.TrimSuffix(base, lockSuffix)
	}
	id, incarnation, _ := strings.Cut(base, "-")
	var err error
	if n.id, err = strconv.Atoi(id); err != nil || n.id < 0 {
		return node{}, false
	}
	if n.incarnation.UnmarshalText([]byte(incarnation)) != nil || n.incarnation == 0 {
		return node{}, false
	}
	if file != n.lock() && file != n.socket() && file != n.hidden() {
		return node{}, false
	}
	return n, true
}

const maxName = 64

// checkCluster returns an error when name cannot name a cluster. It is an element of a path and the value of a header.
func checkCluster(name string) error {
	if !isName(name) || name[0] == '.' {
		return fmt.Errorf("cluster name %.80q: want 1 to %d letters, digits, dots, hyphens and underscores, "+
			"and no dot in front", name, maxName)
	}
	return nil
}

// checkStream returns an error when name cannot name a stream.
func checkStream(name string) error {
	if !isName(name) || strings.ToLower(name) != name {
		return fmt.Errorf("stream name %.80q: want 1 to %d lower-case letters, digits, dots, hyphens and underscores",
			name, maxName)
	}
	return nil
}

func isName(name string) bool {
	return name != "" && len(name) <= maxName && strings.Trim(name,
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == ""
}
