package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// awaitInterval is the time between two looks for the dead while others are waited for.
const awaitInterval = 50 * time.Millisecond

// awaitAll waits until this node and each that lives in the directory now are members for each other. Who refuses the
// link is not waited for. It returns an error if another node has our id.
func (m *Mesh) awaitAll(ctx context.Context) error {
	awaited, err := m.others()
	if err != nil {
		return err
	}
	ticker := time.NewTicker(awaitInterval)
	defer ticker.Stop()
	for {
		missing, changed := m.missing(awaited)
		if len(missing) == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ticker.C:
			awaited = slices.DeleteFunc(missing, m.gone)
		case <-m.closing:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("no link with %s, which hangs or has not started yet, or speaks another version: %w",
				list(missing), context.Cause(ctx))
		}
	}
}

// passOver tells whether an error of awaitAll is only about nodes that may be absent.
func (m *Mesh) passOver(ctx context.Context, err error) bool {
	return m.opts.AllowAbsent && ctx.Err() != nil && errors.Is(err, context.Cause(ctx))
}

// Absent returns the nodes that live in the directory and are no members now, since they hang, for instance, or join just
// now. Of each only ID, Incarnation and PID are known, and PID only where the kernel tells.
func (m *Mesh) Absent() ([]Info, error) {
	others, err := m.others()
	if err != nil {
		return nil, fmt.Errorf("peer: look for nodes in %s: %w", m.dir.Path(), err)
	}
	missing, _ := m.missing(others)
	var absent []Info
	for _, n := range missing {
		info := Info{Cluster: m.self.Cluster, ID: n.ID, Incarnation: n.Incarnation}
		if conn, err := m.dir.Dial(n); err == nil { // the kernel connects whether or not the process accepts
			info.PID, _, _ = credentials(conn) // 0 where it does not tell
			_ = conn.Close()                   // it carried nothing
		}
		absent = append(absent, info)
	}
	return absent, nil
}

// Live returns the other nodes that live: the members, and those that are in the directory and no members now, of which
// only ID and Incarnation are known. A node that is not among them has left or is dead: it does nothing in the mesh any
// more. While the directory is removed that cannot be told, and is an error. After Close the error Is net.ErrClosed.
func (m *Mesh) Live() ([]Info, error) {
	if !m.use() {
		return nil, fmt.Errorf("peer: look for nodes: %w", net.ErrClosed)
	}
	defer m.running.Done()
	live := m.Peers() // first: one that leaves the members from here on has files
	if m.dir == nil { // a mesh of one
		return live, nil
	}
	nodes, err := m.dir.Present()
	if err != nil {
		return nil, fmt.Errorf("peer: look for nodes in %s: %w", m.dir.Path(), err)
	}
	for n := range nodes {
		isMember := slices.ContainsFunc(live, func(p Info) bool { return p.node() == n })
		if n != m.self.node() && !isMember && !m.gone(n) {
			live = append(live, Info{Cluster: m.self.Cluster, ID: n.ID, Incarnation: n.Incarnation})
		}
	}
	return live, nil
}

// others returns the nodes that are published, but for our own.
func (m *Mesh) others() ([]node, error) {
	nodes, err := m.dir.Nodes()
	if err != nil {
		return nil, err
	}
	var others []node
	for n, published := range nodes {
		switch {
		case n == m.self.node() || !published || m.gone(n):
		case n.ID == m.self.ID:
			return nil, fmt.Errorf("id %d is in use by the node whose files are %s/%v.*: choose another id", n.ID, m.dir.Path(), n)
		default:
			others = append(others, n)
		}
	}
	return others, nil
}

// missing returns those of the nodes that are still to be waited for, and a channel that is closed at the next change.
func (m *Mesh) missing(nodes []node) ([]node, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(nodes), func(n node) bool {
		if n.ID > m.self.ID {
			if k := m.dialed[n]; k == nil || k.refused {
				return true // gone, or not willing
			}
		}
		s := m.sessions[n]
		return s != nil && s.complete
	}), m.changed
}

func list(nodes []node) string {
	names := make([]string, len(nodes))
	for i, n := range nodes {
		names[i] = "node " + n.String()
	}
	return strings.Join(names, ", ")
}
