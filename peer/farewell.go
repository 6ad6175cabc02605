package peer

// OnClose calls f at the beginning of Close, while this node is still in the directory and linked to its peers, and they
// take it for alive: so f can end what they rely on as long as it is there. Close waits for f, which must not close the
// mesh. remove takes f back; after Close, f is called at once.
func (m *Mesh) OnClose(f func()) (remove func()) { return m.farewells.Add(f) }
