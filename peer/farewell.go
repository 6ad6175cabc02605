package peer

// farewell is what has to be done before this node leaves.
type farewell struct{ f func() }

// OnClose calls f at the beginning of Close, while this node is still in the directory and linked to its peers, and they
// take it for alive: so f can end what they rely on as long as it is there. Close waits for f, which must not close the
// mesh. remove takes f back; after Close, f is called at once.
func (m *Mesh) OnClose(f func()) (remove func()) {
	one := &farewell{f}
	m.mu.Lock()
	late := m.farewells == nil
	if !late {
		m.farewells[one] = none{}
	}
	m.mu.Unlock()
	if late {
		f()
	}
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.farewells, one)
	}
}

// bidFarewell calls what OnClose has got, one after the other.
func (m *Mesh) bidFarewell() {
	m.mu.Lock()
	farewells := m.farewells
	m.farewells = nil
	m.mu.Unlock()
	for one := range farewells {
		one.f()
	}
}
