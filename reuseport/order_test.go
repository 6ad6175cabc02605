package reuseport_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/multinode-go/multinode/reuseport"
)

func TestOrder(t *testing.T) {
	t.Parallel()
	o := reuseport.NewOrder("A", "B", "C", "D", "E")
	assert.True(t, o.Leave("B"))
	assert.Equal(t, []string{"A", "E", "C", "D"}, o.Members())
	assert.Equal(t, 1, o.Index("E"))
	assert.Equal(t, -1, o.Index("B"))
	assert.False(t, o.Leave("B"))
	o.Join("B")
	o.Join("A") // listens again
	assert.Equal(t, []string{"A", "E", "C", "D", "B"}, o.Members())
	assert.True(t, o.Leave("B"))
	assert.Equal(t, 4, o.Len())
	assert.Equal(t, []string{"A", "E", "C", "D"}, o.Members())
}

func TestOrderOfNothing(t *testing.T) {
	t.Parallel()
	var o reuseport.Order[int]
	assert.Zero(t, o.Len())
	assert.Empty(t, o.Members())
	assert.False(t, o.Leave(0))
	o.Join(7)
	assert.True(t, o.Leave(7))
	assert.Equal(t, -1, o.Index(7))
}

func TestOrderMembersIsACopy(t *testing.T) {
	t.Parallel()
	o := reuseport.NewOrder(1, 2)
	o.Members()[0] = 3
	assert.Equal(t, []int{1, 2}, o.Members())
}
