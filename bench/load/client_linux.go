package load

import "time"

// client sends requests: on one connection, each when it has its answer to the last, or each on a new connection.
type client struct {
	arrivals *arrivals // nil: a closed loop
	lot      lot
	target   target
	due      time.Duration // when its next request has to be sent
	ready    time.Duration // when it can be sent; only from then on the generator is late
	conn     *conn         // with keep-alive; nil: none
}

// queue is a heap of clients, by when they are ready.
type queue []*client

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].ready < q[j].ready }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(c any)        { *q = append(*q, c.(*client)) }

func (q *queue) Pop() any {
	last := len(*q) - 1
	c := (*q)[last]
	*q = (*q)[:last]
	return c
}
