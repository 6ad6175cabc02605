package portgroup

// Node is a node that has a listener, as far as the map looks at it. Its zero value is none.
type Node interface {
	comparable
	// IsReady reports whether the node serves.
	IsReady() bool
	// IsSuspect reports whether the node has stopped answering.
	IsSuspect() bool
}

// Member is a listener in a group, or a hole.
type Member[N Node] struct {
	Inode   uint32
	Node    N    // zero: it is no node's, as far as is known
	Leaving bool // it is to get no new connections
	Foreign bool // it is a stranger's
	Unmet   int  // looks since it was first listed, from 1, while its process is not known; 0: it is
	Probes  int  // of a hole: those without an answer
	Rejoins int  // of our members for its sake

	hole bool
}

// newHole returns a hole. Each is one of its own.
func newHole[N Node]() *Member[N] { return &Member[N]{hole: true} }

// IsHole reports whether it is a hole, and no listener.
func (m *Member[N]) IsHole() bool { return m.hole }

// HasNode reports whether the member is known to belong to a node.
func (m *Member[N]) HasNode() bool {
	var none N
	return m.Node != none
}

// Health returns the member's health for the weights.
func (m *Member[N]) Health() Health {
	switch {
	case m.Foreign:
		return Stranger
	case !m.HasNode():
		return Unknown
	case m.Leaving:
		return Leaving
	case !m.Node.IsReady():
		return Warming
	case m.Node.IsSuspect():
		return Suspect
	default:
		return Healthy
	}
}
