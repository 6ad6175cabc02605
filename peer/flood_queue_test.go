package peer

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A client that speaks is answered although 1,000 connections before it still owe their request, silent or half-way, with an hour to send it.
func TestSilentConnectionsHoldNobodyUp(t *testing.T) {
	const count = 1000
	for name, said := range map[string]string{"silent": "", "half a request": "GET /status HTTP/1.1\r\nHost: "} {
		t.Run(name, func(t *testing.T) {
			d := openTemp(t)
			m := joinTest(t, d, Options{Self: Info{ID: 1}, handshakeTimeout: time.Hour})
			require.NoError(t, m.Handle("/status", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, "here")
			})))
			ask := func() {
				conn, err := d.Dial(m.self.node())
				require.NoError(t, err)
				defer conn.Close()
				_, err = io.WriteString(conn, "GET /status HTTP/1.1\r\nHost: multinode\r\n\r\n")
				require.NoError(t, err)
				answer, err := io.ReadAll(conn)
				require.NoError(t, err)
				require.Contains(t, string(answer), "\r\nhere")
			}
			begin := time.Now()
			for range count {
				conn := dialIdle(t, d, m.self.node())
				_, err := io.WriteString(conn, said)
				require.NoError(t, err)
			}
			ask()
			t.Logf("answered %v after the first of %d", time.Since(begin), count)
		})
	}
}
