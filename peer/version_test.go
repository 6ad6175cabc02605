package peer

import (
	"bufio"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/internal/rendezvous"
)

func TestAgree(t *testing.T) {
	tests := []struct {
		name           string
		newest, oldest string // of the request
		agreed         int
		reason         string
	}{
		{"the same", "3", "2", 3, ""},
		{"the first, which names no oldest", "2", "", 2, ""},
		{"older", "2", "1", 2, ""},
		{"newer", "4", "3", 3, ""},
		{"newer, which names no oldest", "9", "", 3, ""},
		{"too old", "1", "0", 0, "versions 0 to 1: this node speaks versions 2 to 3"},
		{"too old, which names no oldest", "1", "", 0, "version 1: this node speaks versions 2 to 3"},
		{"too new", "5", "4", 0, "versions 4 to 5: this node speaks versions 2 to 3"},
		{"turned", "2", "3", 0, "version 2: this node speaks versions 2 to 3"},
		{"none", "", "", 0, `version "": this node speaks versions 2 to 3`},
		{"no number", "new", "", 0, `version "new": this node speaks versions 2 to 3`},
		{"no number as oldest", "3", "old", 0, `Multinode-Oldest-Version "old": want a number`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := http.Header{}
			h.Set(headerVersion, test.newest)
			h.Set(headerOldest, test.oldest)
			agreed, refused := versions{2, 3}.agree(h)
			assert.Equal(t, test.agreed, agreed)
			if test.reason == "" {
				assert.Nil(t, refused)
			} else if assert.NotNil(t, refused) {
				assert.Equal(t, test.reason, refused.reason)
			}
		})
	}
}

// Nodes of versions that follow each other talk, in both directions of the dial.
func TestVersionsTalk(t *testing.T) {
	tests := []struct {
		name             string
		dialer, listener versions
	}{
		{"the same", versions{1, 2}, versions{1, 2}},
		{"newer dialer", versions{2, 3}, versions{1, 2}},
		{"newer listener", versions{1, 2}, versions{2, 3}},
		{"newer dialer of an exact listener", versions{1, 2}, versions{1, 1}},
		{"exact dialer of a newer listener", versions{1, 1}, versions{1, 2}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := openTemp(t)
			streams, onStream := collect()
			joinTest(t, d, Options{Self: Info{ID: 1}, versions: test.listener}, onStream)
			joinTest(t, d, Options{Self: Info{ID: 0}, versions: test.dialer}, onStream)
			receive(t, streams)
		})
	}
}

// Both logs say why there is no stream, whichever node is newer.
func TestVersionsTooFarApart(t *testing.T) {
	tests := []struct {
		name             string
		dialer, listener versions
		reason           string
	}{
		{"newer dialer", versions{3, 4}, versions{1, 2}, "versions 3 to 4: this node speaks versions 1 to 2"},
		{"newer listener", versions{1, 2}, versions{3, 4}, "versions 1 to 2: this node speaks versions 3 to 4"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := openTemp(t)
			dialer, listener := newTestLog(), newTestLog()
			joinTest(t, d, Options{Self: Info{ID: 1}, versions: test.listener, Logger: listener.logger()})
			joinTest(t, d, Options{Self: Info{ID: 0}, versions: test.dialer, Logger: dialer.logger()})
			listener.waitFor(t, func(r record) bool { return r.Stream == linkStream && r.Reason == test.reason })
			dialer.waitForError(t, "refused by the peer (426 Upgrade Required): "+test.reason)
		})
	}
}

// The first version's listeners take their own version only, and name none when they refuse another.
func TestDialListenerOfTheFirstVersion(t *testing.T) {
	d := openTemp(t)
	self := Info{Cluster: "test", ID: 5, Incarnation: rendezvous.NewIncarnation()}
	p, err := d.Publish(self.node())
	require.NoError(t, err)
	served := make(chan struct{})
	go func() { // ended by the listener's Close, which the cleanup waits for
		defer close(served)
		for {
			conn, err := p.Listener().Accept()
			if err != nil {
				return
			}
			if r, err := http.ReadRequest(bufio.NewReader(conn)); err == nil { // else the test ends, and the link is given up
				_, _ = io.WriteString(conn, answerOfFirst(self, r.Header))
			}
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		assert.NoError(t, p.Withdraw())
		assert.NoError(t, p.Listener().Close())
		<-served
	})
	m := joinTest(t, d, Options{Self: Info{ID: 1}})
	stream, _, err := m.streams.dialer.dial(t.Context(), self.node(), "x")
	require.NoError(t, err)
	assert.Equal(t, 5, stream.Peer().ID)
	require.NoError(t, stream.Close())
}

func answerOfFirst(self Info, request http.Header) string {
	if got := request.Get(headerVersion); got != "1" {
		reason := "version " + strconv.Quote(got) + ": this node speaks version 1\n"
		return "HTTP/1.1 426 Upgrade Required\r\nUpgrade: multinode\r\nContent-Length: " + strconv.Itoa(len(reason)) +
			"\r\nConnection: close\r\n\r\n" + reason
	}
	var b strings.Builder
	_ = with(headerOf(self), headerVersion, "1").Write(&b)
	return "HTTP/1.1 101 Switching Protocols\r\n" + b.String() + "\r\n"
}
