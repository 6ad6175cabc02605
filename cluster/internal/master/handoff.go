package master

import (
	"encoding/json"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/multinode-go/multinode/cluster/internal/lifecycle"
)

// successionStream names the stream on which a master that has handed over asks its successor, of the given generation, as a
// worker does. A successor has one to its predecessor, and later another one to its own successor.
func successionStream(generation int) string { return fmt.Sprintf("succession-%d", generation) }

// handoff carries what the two masters of a takeover say to each other, a line each. One goroutine hears, any may say.
type handoff struct {
	conn net.Conn
	in   *json.Decoder
	mu   *sync.Mutex // held while a word is written
}

func newHandoff(conn net.Conn) handoff {
	return handoff{conn: conn, in: json.NewDecoder(conn), mu: new(sync.Mutex)}
}

// sayTimeout bounds the writing of a word, for which there is always room.
const sayTimeout = time.Second

func (t handoff) say(word lifecycle.Word) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.conn.SetWriteDeadline(time.Now().Add(sayTimeout)); err != nil {
		return err
	}
	return json.NewEncoder(t.conn).Encode(word)
}

// hear returns the next word.
func (t handoff) hear() (word lifecycle.Word, err error) {
	err = t.in.Decode(&word)
	return word, err
}
