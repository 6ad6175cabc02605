package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestPresenceOfAllNodes(t *testing.T) {
	p := newPresence(1)
	p.own([]string{"Ada", "Grace"})
	p.joined(2)
	p.told(2, roll{1, []string{"Ada", "Zoe"}})
	assert.Equal(t, []person{{"Ada", []int{1, 2}}, {"Grace", []int{1}}, {"Zoe", []int{2}}}, p.people(), "a name counts once")
	p.left(2)
	assert.Equal(t, []person{{"Ada", []int{1}}, {"Grace", []int{1}}}, p.people(), "a node takes its people with it")
}

func TestPresenceTakesTheNewerRoll(t *testing.T) {
	p := newPresence(1)
	p.joined(2)
	p.told(2, roll{2, []string{"new"}})
	p.told(2, roll{1, []string{"old"}})
	assert.Equal(t, []person{{"new", []int{2}}}, p.people())
	p.told(2, roll{3, nil})
	assert.Empty(t, p.people())
}

func TestPresenceShowsMembersOnly(t *testing.T) {
	p := newPresence(1)
	p.told(2, roll{1, []string{"early"}})
	assert.Empty(t, p.people(), "the news of a node may come before the node")
	p.joined(2)
	assert.Equal(t, []person{{"early", []int{2}}}, p.people())
	p.left(2)
	p.told(2, roll{2, []string{"late"}})
	assert.Empty(t, p.people(), "and after it")
	p.joined(3)
	p.left(3)
	assert.Empty(t, p.rolls, "nothing of the dead is kept")
}

func TestPresenceOwnRoll(t *testing.T) {
	p := newPresence(1)
	r, changed := p.own([]string{"Ada"})
	assert.Equal(t, roll{1, []string{"Ada"}}, r)
	assert.True(t, changed)
	r, changed = p.own([]string{"Ada"})
	assert.Equal(t, 1, r.Seq)
	assert.False(t, changed)
}
