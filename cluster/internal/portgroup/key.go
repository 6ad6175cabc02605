// Package portgroup is the map of a port's group: the listeners that share the port, their indexes in the kernel's array, how
// certain these are, and which listeners get new connections.
//
// It is pure: its caller reports joins, leaves and looks at the kernel's list, in the order in which they happened. It has no
// clock, probes nothing and steers nothing.
//
// A listener that joins is appended to the kernel's array; when one leaves, the last takes its index (reuseport_add_sock and
// __reuseport_detach_sock in net/core/sock_reuseport.c). So the map is certain as long as the order of joins and leaves is known.
// An index whose member is not known, after two deaths at once, an adoption, or a stranger, is a hole.
package portgroup

// Key names a port in the same way in all nodes: it is the nth that the program asks for with this network and address, so
// that two times port 0 are two ports.
type Key struct {
	Network string `json:"network"`
	Address string `json:"address"`
	Nth     int    `json:"nth"`
}
