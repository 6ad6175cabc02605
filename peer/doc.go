// Package peer links the processes of a cluster.
package peer
