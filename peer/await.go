package peer

import (
	"context"
	"fmt"
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
			return &SilentError{Nodes: m.silent(missing), err: context.Cause(ctx)}
		}
	}
}

// SilentError is in the error of [Join] when its context was done before all nodes that live had a link with this one.
type SilentError struct {
	Nodes []Info // of each the id, the incarnation, and the pid where that can be known
	err   error
}

func (e *SilentError) Error() string {
	nodes := make([]node, len(e.Nodes))
	for i, info := range e.Nodes {
		nodes[i] = info.node()
	}
	return fmt.Sprintf("no link with %s, which hangs or has not started yet, or speaks another version: %v", list(nodes), e.err)
}

func (e *SilentError) Unwrap() error { return e.err }

// silent returns what can be known of nodes that don't answer: the kernel tells who listens, as long as there is room in
// the backlog.
func (m *Mesh) silent(nodes []node) (infos []Info) {
	for _, n := range nodes {
		info := Info{ID: n.id, Incarnation: n.incarnation}
		if conn, err := m.dir.dial(n); err == nil {
			info.PID, _, _ = credentials(conn) // 0 with an error
			_ = conn.Close()                   // nothing was sent
		}
		infos = append(infos, info)
	}
	return infos
}

// others returns the nodes that are published, but for our own.
func (m *Mesh) others() ([]node, error) {
	nodes, err := m.dir.nodes()
	if err != nil {
		return nil, err
	}
	var others []node
	for n, published := range nodes {
		switch {
		case n == m.self.node() || !published || m.gone(n):
		case n.id == m.self.ID:
			return nil, fmt.Errorf("id %d is in use by the node whose files are %s/%v.*: choose another id", n.id, m.dir.path, n)
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
		if n.id > m.self.ID {
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
