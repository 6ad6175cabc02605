//go:build !race

package portgroup

const isRaced = false
