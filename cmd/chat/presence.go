package main

import (
	"cmp"
	"maps"
	"slices"
)

// person is a name that is online, and the nodes of its pages. A person with several pages counts once; two people with the
// same name cannot be distinguished.
type person struct {
	Name  string `json:"name"`
	Nodes []int  `json:"nodes"`
}

// roll is the people on one node, as that node reports them. Seq grows with each change: of two rolls that cross, the
// higher is the newer.
type roll struct {
	Seq   int      `json:"seq"`
	Names []string `json:"names"` // sorted, each once
}

// presence is the people who are online on all nodes. It is not safe for use by several goroutines at once.
type presence struct {
	self  int
	rolls map[int]roll // by node
	peers map[int]bool // live nodes. The roll of another node is kept, and not shown: it may arrive before the node joins
}

func newPresence(self int) *presence {
	return &presence{self: self, rolls: make(map[int]roll), peers: make(map[int]bool)}
}

// own sets the people on this node, and reports whether they have changed.
func (p *presence) own(names []string) (roll, bool) {
	now := p.rolls[p.self]
	if slices.Equal(now.Names, names) {
		return now, false
	}
	now = roll{Seq: now.Seq + 1, Names: names}
	p.rolls[p.self] = now
	return now, true
}

// told stores the roll of another node.
func (p *presence) told(node int, r roll) {
	if r.Seq >= p.rolls[node].Seq {
		p.rolls[node] = r
	}
}

// joined and left keep the set of live nodes. The people of a node leave with it.
func (p *presence) joined(node int) { p.peers[node] = true }

func (p *presence) left(node int) {
	delete(p.peers, node)
	maps.DeleteFunc(p.rolls, func(node int, _ roll) bool { return node != p.self && !p.peers[node] })
}

func (p *presence) people() []person {
	nodes := make(map[string][]int)
	for node, r := range p.rolls {
		if node != p.self && !p.peers[node] {
			continue
		}
		for _, name := range r.Names {
			nodes[name] = append(nodes[name], node)
		}
	}
	people := make([]person, 0, len(nodes))
	for name, on := range nodes {
		slices.Sort(on)
		people = append(people, person{name, on})
	}
	slices.SortFunc(people, func(a, b person) int { return cmp.Compare(a.Name, b.Name) })
	return people
}
