// Package portgroup is the map of a port's group: the listeners that share the port, their indexes in the kernel's array, what of
// that is certain, and which of them get new connections.
//
// It is pure: it is told what has happened, in the order in which it happened, and of each look at the kernel's list. It has no
// clock, asks nothing and steers nothing.
//
// A listener that joins is appended to the kernel's array; when one leaves, the last takes its index (reuseport_add_sock and
// __reuseport_detach_sock in net/core/sock_reuseport.c). So the map is certain as long as joins and leaves are known in
// their order. What cannot be known, after two deaths at once, an adoption, or a stranger, is a hole: an index of which it
// is not known which member sits there.
package portgroup

// Key names a port in the same way in all nodes: it is the nth that the program asks for with this network and address, so
// that two times port 0 are two ports.
type Key struct {
	Network string `json:"network"`
	Address string `json:"address"`
	Nth     int    `json:"nth"`
}
