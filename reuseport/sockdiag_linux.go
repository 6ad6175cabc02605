package reuseport

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// States of a TCP socket, for the bit mask of dumpSockets (include/net/tcp_states.h).
const (
	tcpEstablished = 1
	// A handshake; the kernel adds TCP_NEW_SYN_RECV, the state of a handshake without a socket (inet_diag_dump_icsk).
	tcpSynRecv = 3
	tcpListen  = 10
	// A handshake that has no socket yet.
	tcpNewSynRecv = 12
	// Bound, and neither listening nor connected. Before Linux 6.8 the kernel ignores the bit and has none to show.
	tcpBoundInactive = 13
)

// skV6Only is INET_DIAG_SKV6ONLY, the only attribute that is read.
const skV6Only = 11

// dumpSize is the largest buffer in which the kernel answers (netlink_recvmsg caps max_recvmsg_len).
const dumpSize = 32 << 10

var errMalformed = errors.New("malformed sock_diag message")

// diagSocket is one socket of a dump.
type diagSocket struct {
	family, state uint8
	v6only        bool
	local, remote netip.AddrPort
	uid, inode    uint32
	queue         uint32 // of a listener: connections that wait to be accepted (inet_diag_msg_common_fill, tcp_diag_get_info)
	ifi           uint32 // the index of the interface it is bound to, or 0
}

// The messages of include/uapi/linux/inet_diag.h, in host byte order, ports and addresses in network byte order.
type (
	inetDiagSockID struct {
		SrcPort, DstPort [2]byte
		Src, Dst         [16]byte
		Interface        uint32
		Cookie           [2]uint32
	}
	inetDiagReqV2 struct {
		Family, Protocol, Extensions, _ uint8
		States                          uint32
		ID                              inetDiagSockID
	}
	inetDiagMsg struct {
		Family, State, Timer, Retrans              uint8
		ID                                         inetDiagSockID
		Expires, ReadQueue, WriteQueue, UID, Inode uint32
	}
)

// dumpSockets returns the TCP sockets of this network namespace that are of a family (AF_INET or AF_INET6), in one of
// the states of a bit mask, and have the given local port. It needs no privilege. The kernel does the filtering, and
// answers at once.
func dumpSockets(family uint8, states uint32, port uint16) ([]diagSocket, error) {
	return askDiag(dumpRequest(family, states, port))
}

// findSocket returns the socket of a connection, given the unmapped addresses of its two ends. It is a look-up, not a
// walk over all connections. A dual-stack socket is found by its IPv4 addresses, and returned with mapped ones.
func findSocket(local, remote netip.AddrPort) (_ diagSocket, ok bool, err error) {
	request, err := findRequest(local, remote)
	if err != nil {
		return diagSocket{}, false, err
	}
	sockets, err := askDiag(request)
	if errors.Is(err, unix.ENOENT) {
		return diagSocket{}, false, nil
	}
	if err != nil {
		return diagSocket{}, false, err
	}
	for _, s := range sockets {
		// Where there is no such connection, the kernel returns the listener (inet_diag_find_one_icsk).
		if s.state != tcpListen && unmap(s.remote) == unzoned(remote) {
			return s, true, nil
		}
	}
	return diagSocket{}, false, nil
}

// askDiag sends a request and returns the sockets in the answer.
func askDiag(request []byte) ([]diagSocket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, diagError("socket", err)
	}
	defer unix.Close(fd)
	// A connected netlink socket takes messages from the kernel alone (netlink_getsockbyportid).
	if err := unix.Connect(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, diagError("connect", err)
	}
	if _, err := unix.Write(fd, request); err != nil {
		return nil, diagError("write", err)
	}
	var sockets []diagSocket
	buf := make([]byte, dumpSize)
	for {
		n, _, err := unix.Recvfrom(fd, buf, unix.MSG_TRUNC) // the length it has, even if buf is too small
		if err != nil {
			return nil, diagError("recvfrom", err)
		}
		if n > len(buf) {
			return nil, errMalformed
		}
		var done bool
		if sockets, done, err = parseDump(buf[:n], sockets); done || err != nil {
			return sockets, err
		}
	}
}

// diagError marks the answers of a kernel without tcp_diag or without NETLINK_SOCK_DIAG.
func diagError(call string, err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EPROTONOSUPPORT) {
		return fmt.Errorf("sock_diag: %w: %w", os.NewSyscallError(call, err), errors.ErrUnsupported)
	}
	return fmt.Errorf("sock_diag: %w", os.NewSyscallError(call, err))
}

func dumpRequest(family uint8, states uint32, port uint16) []byte {
	req := inetDiagReqV2{Family: family, Protocol: unix.IPPROTO_TCP, States: states}
	binary.BigEndian.PutUint16(req.ID.SrcPort[:], port)
	return newRequest(unix.NLM_F_DUMP, req)
}

// findRequest asks for one socket. The acknowledgement ends the answer, as the end of a dump does.
func findRequest(local, remote netip.AddrPort) ([]byte, error) {
	const anyCookie = 1<<32 - 1 // INET_DIAG_NOCOOKIE
	zone, err := zoneID(local.Addr().Zone())
	if err != nil {
		return nil, err
	}
	req := inetDiagReqV2{Family: unix.AF_INET6, Protocol: unix.IPPROTO_TCP}
	if local.Addr().Is4() {
		req.Family = unix.AF_INET
	}
	req.ID = inetDiagSockID{Interface: zone, Cookie: [2]uint32{anyCookie, anyCookie}}
	copy(req.ID.Src[:], local.Addr().AsSlice())
	copy(req.ID.Dst[:], remote.Addr().AsSlice())
	binary.BigEndian.PutUint16(req.ID.SrcPort[:], local.Port())
	binary.BigEndian.PutUint16(req.ID.DstPort[:], remote.Port())
	return newRequest(unix.NLM_F_ACK, req), nil
}

func newRequest(flags uint16, req inetDiagReqV2) []byte {
	header := unix.NlMsghdr{
		Len:   uint32(unix.SizeofNlMsghdr + binary.Size(req)),
		Type:  unix.SOCK_DIAG_BY_FAMILY,
		Flags: unix.NLM_F_REQUEST | flags,
	}
	return appendNative(appendNative(nil, header), req)
}

// parseDump appends the sockets of one datagram, and tells whether it was the last.
func parseDump(b []byte, sockets []diagSocket) (_ []diagSocket, done bool, err error) {
	for len(b) > 0 {
		var header unix.NlMsghdr
		if _, err := binary.Decode(b, binary.NativeEndian, &header); err != nil {
			return nil, false, errMalformed
		}
		if header.Len < unix.SizeofNlMsghdr || uint64(header.Len) > uint64(len(b)) {
			return nil, false, errMalformed
		}
		body := b[unix.SizeofNlMsghdr:header.Len]
		switch header.Type {
		case unix.NLMSG_DONE, unix.NLMSG_ERROR:
			return sockets, true, parseStatus(body)
		case unix.SOCK_DIAG_BY_FAMILY:
			s, err := parseSocket(body)
			if err != nil {
				return nil, false, err
			}
			sockets = append(sockets, s)
		}
		b = afterAligned(b, int(header.Len))
	}
	return sockets, false, nil
}

// parseStatus reads the negative errno with which the kernel ends a dump, or 0.
func parseStatus(b []byte) error {
	var status int32
	if _, err := binary.Decode(b, binary.NativeEndian, &status); err != nil {
		return errMalformed
	}
	if status == 0 {
		return nil
	}
	return diagError("dump", unix.Errno(-status))
}

func parseSocket(b []byte) (diagSocket, error) {
	var msg inetDiagMsg
	n, err := binary.Decode(b, binary.NativeEndian, &msg)
	if err != nil {
		return diagSocket{}, errMalformed
	}
	s := diagSocket{family: msg.Family, state: msg.State, uid: msg.UID, inode: msg.Inode, ifi: msg.ID.Interface}
	if s.state == tcpListen {
		s.queue = msg.ReadQueue
	}
	switch msg.Family {
	case unix.AF_INET:
		s.local = addrPort(netip.AddrFrom4([4]byte(msg.ID.Src[:4])), msg.ID.SrcPort)
		s.remote = addrPort(netip.AddrFrom4([4]byte(msg.ID.Dst[:4])), msg.ID.DstPort)
	case unix.AF_INET6:
		s.local = addrPort(netip.AddrFrom16(msg.ID.Src), msg.ID.SrcPort)
		s.remote = addrPort(netip.AddrFrom16(msg.ID.Dst), msg.ID.DstPort)
	default:
		return diagSocket{}, errMalformed
	}
	s.v6only, err = parseV6Only(b[n:])
	return s, err
}

// parseV6Only looks for INET_DIAG_SKV6ONLY, which is there for each IPv6 socket that listens or is bound only.
func parseV6Only(b []byte) (bool, error) {
	for len(b) > 0 {
		var attr unix.NlAttr
		if _, err := binary.Decode(b, binary.NativeEndian, &attr); err != nil {
			return false, errMalformed
		}
		if attr.Len < unix.SizeofNlAttr || int(attr.Len) > len(b) {
			return false, errMalformed
		}
		if value := b[unix.SizeofNlAttr:attr.Len]; attr.Type == skV6Only && len(value) > 0 {
			return value[0] != 0, nil
		}
		b = afterAligned(b, int(attr.Len))
	}
	return false, nil
}

// afterAligned returns what follows a message or an attribute of n bytes: the next begins at a multiple of 4, and the
// last may lack the padding.
func afterAligned(b []byte, n int) []byte {
	return b[min((n+3)&^3, len(b)):]
}

func addrPort(addr netip.Addr, port [2]byte) netip.AddrPort {
	return netip.AddrPortFrom(addr, binary.BigEndian.Uint16(port[:]))
}

// appendNative appends a message of fixed size.
func appendNative(b []byte, message any) []byte {
	b, err := binary.Append(b, binary.NativeEndian, message)
	if err != nil {
		panic(err) // not of fixed size
	}
	return b
}
