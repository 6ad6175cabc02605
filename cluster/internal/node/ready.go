package node

import "sync"

// Readiness is when a node is ready.
type Readiness struct {
	manual  bool          // only when the program says so
	ready   chan struct{} // closed when it has
	serving chan struct{} // closed when the main port is accepted from, or need not be
	left    chan struct{} // closed when this node has no listener left

	readyOnce, servingOnce, leftOnce sync.Once
}

func newReadiness(manual bool) *Readiness {
	return &Readiness{
		manual: manual, ready: make(chan struct{}), serving: make(chan struct{}), left: make(chan struct{}),
	}
}

// Ready marks the program as ready to serve.
func (r *Readiness) Ready() { r.readyOnce.Do(func() { close(r.ready) }) }

// HasLeft is closed when the node has no listener left.
func (r *Readiness) HasLeft() <-chan struct{} { return r.left }

// MarkServing notes that the main port is accepted from, or need not be.
func (n *Node) MarkServing() {
	n.servingOnce.Do(func() {
		if n.role.Serving != nil {
			n.role.Serving()
		}
		close(n.serving)
	})
}

// OwnReadiness returns the channels that are closed when this node is ready.
func (n *Node) OwnReadiness() (all []<-chan struct{}) {
	if n.Accepts() {
		all = append(all, n.serving)
	}
	if n.manual {
		all = append(all, n.ready)
	}
	return all
}

// AllReadiness returns the channels that are closed when this node and, on the master, all others are ready.
func (n *Node) AllReadiness() []<-chan struct{} {
	all := n.OwnReadiness()
	if n.role.AllReady != nil {
		all = append(all, n.role.AllReady)
	}
	return all
}

// Await waits for all of these events. It returns false if the node ends before.
func (n *Node) Await(events []<-chan struct{}) bool {
	for _, event := range events {
		select {
		case <-event:
		case <-n.done:
			return false
		}
	}
	return true
}
