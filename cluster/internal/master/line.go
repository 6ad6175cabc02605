package master

import (
	"encoding/json"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/multinode-go/multinode/cluster/internal/lifecycle"
)

// handoverStream names the stream on which a master that has handed over asks its successor, of the given generation, as a
// worker does. A successor has one to its predecessor, and later another one to its own successor.
func handoverStream(generation int) string { return fmt.Sprintf("succession-%d", generation) }

// line carries the words of the two masters of a takeover, a line each. One goroutine may hear, any may say.
type line struct {
	conn net.Conn
	in   *json.Decoder
	mu   *sync.Mutex // held while a word is written
}

func newLine(conn net.Conn) line {
	return line{conn: conn, in: json.NewDecoder(conn), mu: new(sync.Mutex)}
}

// sayTimeout bounds the writing of a word, for which there is always room.
const sayTimeout = time.Second

func (l line) say(word lifecycle.Word) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.conn.SetWriteDeadline(time.Now().Add(sayTimeout)); err != nil {
		return err
	}
	return json.NewEncoder(l.conn).Encode(word)
}

// hear waits for the next word.
func (l line) hear() (word lifecycle.Word, err error) {
	err = l.in.Decode(&word)
	return word, err
}
