package framing

import (
	"crypto/sha1"
	"encoding/base64"
)

// AcceptKey returns what a server answers as Sec-WebSocket-Accept to a client's Sec-WebSocket-Key (RFC 6455, section
// 4.2.2). It is no secret: it shows that the server has understood the handshake.
func AcceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}
