//go:build race

package portgroup

const isRaced = true
