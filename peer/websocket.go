package peer

import (
	"encoding/base64"
	"net/http"

	"github.com/multinode-go/multinode/framing"
)

const (
	webSocket        = "websocket"
	webSocketVersion = "13"
	webSocketKeySize = 16 // bytes
	clientID         = -1 // of a client that is no node
)

func isWebSocket(h http.Header) bool { return hasToken(h["Upgrade"], webSocket) }

// admitWebSocket decides about the request of a WebSocket client.
func (ad *admissions) admitWebSocket(a admission, r *http.Request) (admission, *refusedError) {
	a.from = Info{Cluster: ad.self.Cluster, ID: clientID, PID: a.from.PID}
	accept, refused := webSocketAccept(r)
	if refused != nil {
		return a, refused
	}
	l := ad.streams.listener(a.name)
	if l == nil || !l.webSocket {
		return a, refuse(http.StatusNotFound, "node %d has nothing that takes WebSocket clients as %q", ad.self.ID, a.name)
	}
	a.header = http.Header{
		"Connection":           {"Upgrade"},
		"Upgrade":              {webSocket},
		"Sec-WebSocket-Accept": {accept},
	}
	return admitTo(l, a)
}

// webSocketAccept checks a request by RFC 6455, section 4.2.1, and returns the value of the answer's
// Sec-WebSocket-Accept.
func webSocketAccept(r *http.Request) (string, *refusedError) {
	if r.Method != http.MethodGet || !r.ProtoAtLeast(1, 1) || !hasToken(r.Header["Connection"], "upgrade") {
		return "", refuse(http.StatusBadRequest, "a WebSocket needs GET, HTTP/1.1 and Connection: Upgrade")
	}
	if version := r.Header.Get("Sec-WebSocket-Version"); version != webSocketVersion {
		refused := refuse(http.StatusUpgradeRequired, "WebSocket version %.20q: this node speaks version %s",
			version, webSocketVersion)
		refused.header = http.Header{"Upgrade": {webSocket}, "Sec-WebSocket-Version": {webSocketVersion}}
		return "", refused
	}
	keys := r.Header.Values("Sec-WebSocket-Key")
	if len(keys) != 1 {
		return "", refuse(http.StatusBadRequest, "%d headers Sec-WebSocket-Key: want 1", len(keys))
	}
	if key, err := base64.StdEncoding.DecodeString(keys[0]); err != nil || len(key) != webSocketKeySize {
		return "", refuse(http.StatusBadRequest, "Sec-WebSocket-Key %.40q: want %d bytes in base64",
			keys[0], webSocketKeySize)
	}
	return framing.AcceptKey(keys[0]), nil
}
