package cost

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
)

// measurement makes one table or several.
type measurement struct {
	group, name string
	measure     func(context.Context, config, io.Writer) error
	nats        bool // compares with NATS
}

// measurements are in the order in which they run.
func measurements() []measurement {
	return []measurement{
		{"cluster", "one-node", measureOverhead, false},
		{"cluster", "two-nodes", measureTwoNodes, false},
		{"cluster", "restart", measureRestart, false},
		{"cluster", "start", measureStart, false},
		{"cluster", "memory", measureMemory, false},
		{"mesh", "round-trip", measureRoundTrips, true},
		{"mesh", "one-way", measureOneWay, true},
		{"mesh", "fan-out", measureFanOuts, true},
		{"mesh", "mesh-start", measureMeshStart, false},
		{"mesh", "join", measureJoin, false},
		{"mesh", "stalled-peer", measureStall, false},
		{"cache", "invalidate", measureInvalidations, true},
		{"cache", "hits", measureHits, false},
		{"cache", "hit", measureHit, false},
		{"cache", "catalog", measureCatalog, false},
	}
}

// tableNames returns what can be chosen: each group, and what is in it.
func tableNames() (names []string) {
	for _, m := range measurements() {
		if !slices.Contains(names, m.group) {
			names = append(names, m.group)
		}
		names = append(names, m.name)
	}
	return names
}

// choose returns the measurements that a list of names asks for, all if it is empty.
func choose(list string) ([]measurement, error) {
	if list == "" {
		return measurements(), nil
	}
	names := strings.Split(list, ",")
	for _, name := range names {
		if !slices.Contains(tableNames(), name) {
			return nil, fmt.Errorf("no table %q, have %s", name, strings.Join(tableNames(), ", "))
		}
	}
	return slices.DeleteFunc(measurements(), func(m measurement) bool {
		return !slices.Contains(names, m.group) && !slices.Contains(names, m.name)
	}), nil
}
