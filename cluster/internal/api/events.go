package api

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/cluster/internal/journal"
)

// keepAlive is how often a stream of events says that it is there, if nothing else is to be said: a reader may take
// silence for a connection that has died.
const keepAlive = 15 * time.Second

// events sends events, as in "Server-sent events" of the HTML standard, until the client disconnects or the master ends.
func (a api) events(w http.ResponseWriter, r *http.Request) error {
	after, err := eventsAfter(r)
	if err != nil {
		return err
	}
	leave, err := enter(a.readers, "readers of events", "end one of them, or ask for /status")
	if err != nil {
		return err
	}
	defer leave()
	past, next, cancel := a.Watch(after)
	defer cancel()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	stream := eventStream{w, http.NewResponseController(w)}
	status := a.Status()
	stream.comment("events of the cluster %s, master pid %d", status.Cluster, status.PID)
	if len(past) > 0 && past[0].Seq > after+1 {
		stream.comment("those from %d to %d are forgotten", after+1, past[0].Seq-1)
	}
	for _, e := range past {
		stream.event(e)
	}
	stream.follow(next, r.Context().Done())
	return nil
}

// eventsAfter returns the Seq of the last event that the client has: the header that a browser sends when it connects again
// overrides the address, which stays the same.
func eventsAfter(r *http.Request) (int, error) {
	in, err := readInput(r, "after")
	if err != nil {
		return 0, err
	}
	text := cmp.Or(r.Header.Get("Last-Event-ID"), in.get("after"))
	if text == "" {
		return journal.FromNow, nil
	}
	after, err := strconv.Atoi(text)
	if err != nil || after < 0 {
		return 0, inputError(http.StatusBadRequest,
			"after %.80q: give the id of an event, or 0 for all that are remembered", text)
	}
	return after, nil
}

// eventStream writes events. An error of a write ends the context of its request, and need not be looked at.
type eventStream struct {
	io.Writer
	flusher *http.ResponseController
}

func (s eventStream) follow(next <-chan control.Event, gone <-chan struct{}) {
	ticker := time.NewTicker(keepAlive)
	defer ticker.Stop()
	for {
		_ = s.flusher.Flush()
		select {
		case e, open := <-next:
			if !open {
				s.comment("the end: the master stops, or this reader is too slow")
				return
			}
			s.event(e)
		case <-ticker.C:
			s.comment("still here")
		case <-gone:
			return
		}
	}
}

func (s eventStream) comment(format string, args ...any) {
	_, _ = fmt.Fprintf(s, ": %s\n\n", fmt.Sprintf(format, args...))
}

func (s eventStream) event(e control.Event) {
	data, _ := json.Marshal(e) // of these types it cannot fail, and without line breaks
	_, _ = fmt.Fprintf(s, "id: %d\nevent: %s\ndata: %s\n\n", e.Seq, e.Kind, data)
}
