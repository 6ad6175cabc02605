package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/multinode-go/multinode/peer/internal/localhttp"
)

// awaitInterval is the time between two looks for dead nodes while Join waits.
const awaitInterval = 50 * time.Millisecond

// census compares the live nodes in the directory with the members.
type census struct {
	*core
	keepers *keepers
	members *members
}

// awaitAll waits until this node and every node that lives in the directory now are members for each other. It does not
// wait for a node that refuses the link. It returns an error if another node has our id.
func (c census) awaitAll(ctx context.Context) error {
	awaited, err := c.others()
	if err != nil {
		return err
	}
	ticker := time.NewTicker(awaitInterval)
	defer ticker.Stop()
	for {
		missing, changed := c.missing(awaited)
		if len(missing) == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ticker.C:
			awaited = slices.DeleteFunc(missing, c.gone)
		case <-c.closing:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("no link with %s, which hangs or has not started yet, or speaks another version: %w",
				list(missing), context.Cause(ctx))
		}
	}
}

// passOver reports whether an error of awaitAll is only about nodes that may be absent.
func (c census) passOver(ctx context.Context, err error) bool {
	return c.opts.inside.AllowAbsent && ctx.Err() != nil && errors.Is(err, context.Cause(ctx))
}

// absent returns the nodes that live in the directory and are not members now.
func (c census) absent() ([]Info, error) {
	others, err := c.others()
	if err != nil {
		return nil, fmt.Errorf("peer: look for nodes in %s: %w", c.dir.Path(), err)
	}
	missing, _ := c.missing(others)
	var absent []Info
	for _, n := range missing {
		info := Info{Cluster: c.self.Cluster, ID: n.ID, Incarnation: n.Incarnation}
		if conn, err := c.dir.Dial(n); err == nil { // the kernel connects whether or not the process accepts
			info.PID, _, _ = localhttp.Credentials(conn) // 0 where the kernel does not show it
			_ = conn.Close()                             // it carried nothing
		}
		absent = append(absent, info)
	}
	return absent, nil
}

// live returns the other nodes that live.
func (c census) live() ([]Info, error) {
	if !c.use() {
		return nil, fmt.Errorf("peer: look for nodes: %w", net.ErrClosed)
	}
	defer c.running.Done()
	live := c.members.peers() // first: a peer that leaves the members from here on has files
	if c.dir == nil {         // a mesh of one
		return live, nil
	}
	nodes, err := c.dir.Present()
	if err != nil {
		return nil, fmt.Errorf("peer: look for nodes in %s: %w", c.dir.Path(), err)
	}
	for n := range nodes {
		isMember := slices.ContainsFunc(live, func(p Info) bool { return p.node() == n })
		if n != c.self.node() && !isMember && !c.gone(n) {
			live = append(live, Info{Cluster: c.self.Cluster, ID: n.ID, Incarnation: n.Incarnation})
		}
	}
	return live, nil
}

// others returns the published nodes, without our own.
func (c census) others() ([]node, error) {
	nodes, err := c.dir.Nodes()
	if err != nil {
		return nil, err
	}
	var others []node
	for n, published := range nodes {
		switch {
		case n == c.self.node() || !published || c.gone(n):
		case n.ID == c.self.ID:
			return nil, fmt.Errorf("id %d is in use by the node whose files are %s/%v.*: choose another id", n.ID, c.dir.Path(), n)
		default:
			others = append(others, n)
		}
	}
	return others, nil
}

// missing returns the nodes that Join still waits for, and a channel that is closed at the next change.
func (c census) missing(nodes []node) ([]node, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(nodes), func(n node) bool {
		if n.ID > c.self.ID {
			if k := c.keepers.dialed[n]; k == nil || k.refused {
				return true // gone, or it refuses the link
			}
		}
		s := c.members.sessions[n]
		return s != nil && s.complete
	}), c.changed
}

func list(nodes []node) string {
	names := make([]string, len(nodes))
	for i, n := range nodes {
		names[i] = "node " + n.String()
	}
	return strings.Join(names, ", ")
}
