package cluster

import (
	"encoding/json"
	"fmt"
	"net"
	"sync"
	"time"
)

// successionStream names the stream on which a master that has handed over asks its successor, of the given generation, as a
// worker does. A successor has one to its predecessor, and later another one to its own successor.
func successionStream(generation int) string { return fmt.Sprintf("succession-%d", generation) }

// successionStep is what the two masters of a takeover say to each other, a line each. The predecessor closes the connection
// when it has left the cluster to its successor. Until then the successor is on probation: it gives all back when it is
// told to stop, or fails.
//
//	successor      prepared ->                 done ->
//	predecessor                 <- go                    closes
//
// Called off after go, by either of the two:
//
//	successor              leave or stop ->    back ->
//	predecessor    <- no                                 goes on
type successionStep string

const (
	stepPrepared successionStep = "prepared" // successor: I have come to Listen, and wait for the lock
	stepGo       successionStep = "go"       // predecessor: the lock is free
	stepDone     successionStep = "done"     // successor: I am the master, and ready
	stepNo       successionStep = "no"       // predecessor: the takeover is called off
	stepStop     successionStep = "stop"     // successor: I was told to stop, so the cluster is to stop; I give back
	stepLeave    successionStep = "leave"    // successor: I give back
	stepBack     successionStep = "back"     // successor: I am no master any more, and the lock is free
)

// handoff carries the steps. One goroutine hears, any may say.
type handoff struct {
	conn net.Conn
	in   *json.Decoder
	mu   *sync.Mutex // held while a step is written
}

func newHandoff(conn net.Conn) handoff {
	return handoff{conn: conn, in: json.NewDecoder(conn), mu: new(sync.Mutex)}
}

// sayTimeout bounds the writing of a step, for which there is always room.
const sayTimeout = time.Second

func (t handoff) say(step successionStep) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.conn.SetWriteDeadline(time.Now().Add(sayTimeout)); err != nil {
		return err
	}
	return json.NewEncoder(t.conn).Encode(step)
}

// hear returns the next step.
func (t handoff) hear() (step successionStep, err error) {
	err = t.in.Decode(&step)
	return step, err
}

// steps returns all steps that come, and is closed behind the last. It starts a goroutine that ends with the connection, and
// never waits for a reader.
func (t handoff) steps() <-chan successionStep {
	const most = 16 // more than there are to say
	steps := make(chan successionStep, most)
	go func() {
		defer close(steps)
		for range most {
			step, err := t.hear()
			if err != nil {
				return
			}
			steps <- step
		}
	}()
	return steps
}
