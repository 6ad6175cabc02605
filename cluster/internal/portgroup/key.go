// Package portgroup names the ports that the nodes of a cluster share.
package portgroup

// Key names a port in the same way in all nodes: it is the nth that the program asks for with this network and address, so
// that two times port 0 are two ports.
type Key struct {
	Network string `json:"network"`
	Address string `json:"address"`
	Nth     int    `json:"nth"`
}
