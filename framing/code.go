package framing

import (
	"encoding/binary"
	"strings"
	"unicode/utf8"
)

// Code is a close code (RFC 6455, section 7.4). Programs have 4000 to 4999 for their own.
type Code uint16

// Close codes that are often used.
const (
	CodeNormal      Code = 1000 // the purpose has been fulfilled
	CodeGoingAway   Code = 1001 // the process ends
	CodeProtocol    Code = 1002 // the peer has broken the protocol
	CodeNone        Code = 1005 // no code at all; never on the wire
	CodeInvalidData Code = 1007 // a text was not UTF-8
	CodePolicy      Code = 1008 // the peer may not do that
	CodeTooBig      Code = 1009 // a message was larger than the receiver takes
	CodeInternal    Code = 1011 // the sender of the code has failed
)

// maxReason is the longest reason of a close, in bytes: a control frame without its code.
const maxReason = maxControl - 2

// onWire reports whether a close frame may hold the code. 1004 has no meaning, 1005, 1006 and 1015 are for programs, not
// for the wire (section 7.4.1); 1012 to 1014 were registered later.
func (c Code) onWire() bool {
	switch {
	case c >= 1000 && c <= 1003, c >= 1007 && c <= 1014, c >= 3000 && c <= 4999:
		return true
	}
	return false
}

// appendClose appends a close frame. CodeNone makes an empty one; a reason is cut to what fits.
func appendClose(dst []byte, code Code, reason string) []byte {
	if code == CodeNone {
		return AppendFrame(dst, Close, nil)
	}
	reason = strings.ToValidUTF8(reason, "\uFFFD")
	if len(reason) > maxReason {
		end := maxReason
		for !utf8.RuneStart(reason[end]) {
			end--
		}
		reason = reason[:end]
	}
	dst = appendHeader(dst, Close, 2+len(reason))
	return append(binary.BigEndian.AppendUint16(dst, uint16(code)), reason...)
}

// parseClose returns what the payload of a close frame says (section 5.5.1).
func parseClose(p []byte) (*CloseError, error) {
	if len(p) == 0 {
		return &CloseError{Code: CodeNone}, nil
	}
	if len(p) == 1 {
		return nil, violation("close frame with half a code")
	}
	code := Code(binary.BigEndian.Uint16(p))
	if !code.onWire() {
		return nil, violation("close code %d", code)
	}
	if !utf8.Valid(p[2:]) {
		return nil, &ProtocolError{Code: CodeInvalidData, Err: errInvalidUTF8}
	}
	return &CloseError{Code: code, Reason: string(p[2:])}, nil
}
