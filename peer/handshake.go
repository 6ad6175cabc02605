package peer

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const (
	protocol = "multinode" // in the Upgrade header

	streamsPath = "/stream"
	guestsPath  = "/nodes"

	maxHeader = 8 << 10 // bytes of a request or an answer, with its first line
	maxReason = 1 << 10 // bytes of a refusal's text that the dialer reads
)

const (
	headerCluster     = "Multinode-Cluster"
	headerID          = "Multinode-Id"
	headerSlot        = "Multinode-Slot"
	headerGeneration  = "Multinode-Generation"
	headerIncarnation = "Multinode-Incarnation"
)

// headerOf returns the header that identifies a node, in requests and in answers. The caller adds the version.
func headerOf(info Info) http.Header {
	return http.Header{
		"Connection":      {"Upgrade"},
		"Upgrade":         {protocol},
		headerCluster:     {info.Cluster},
		headerID:          {strconv.Itoa(info.ID)},
		headerSlot:        {strconv.Itoa(info.Slot)},
		headerGeneration:  {strconv.Itoa(info.Generation)},
		headerIncarnation: {info.Incarnation.String()},
	}
}

// parseRequest returns the dialer and the version to speak, if the dialer is a node of the cluster and speaks a version of
// ours.
func parseRequest(h http.Header, cluster string, spoken versions) (info Info, version int, refused *refusedError) {
	if refused = checkUpgrade(h); refused != nil {
		return Info{}, 0, refused
	}
	if version, refused = spoken.agree(h); refused != nil {
		return Info{}, 0, refused
	}
	info, refused = parseInfo(h, cluster)
	return info, version, refused
}

func checkUpgrade(h http.Header) *refusedError {
	if !hasToken(h["Connection"], "upgrade") || !hasToken(h["Upgrade"], protocol) {
		return refuse(http.StatusUpgradeRequired, "a stream needs Connection: Upgrade and Upgrade: %s", protocol)
	}
	return nil
}

// parseInfo returns the node of the other side, if it belongs to the cluster.
func parseInfo(h http.Header, cluster string) (info Info, refused *refusedError) {
	if info.Cluster = h.Get(headerCluster); info.Cluster != cluster {
		return Info{}, refuse(http.StatusConflict, "cluster %.80q: this node belongs to cluster %q", info.Cluster, cluster)
	}
	for name, field := range map[string]*int{
		headerID: &info.ID, headerSlot: &info.Slot, headerGeneration: &info.Generation,
	} {
		n, err := strconv.Atoi(h.Get(name))
		if err != nil || n < 0 {
			return Info{}, refuse(http.StatusBadRequest, "%s %.20q: want a number from 0", name, h.Get(name))
		}
		*field = n
	}
	err := info.Incarnation.UnmarshalText([]byte(h.Get(headerIncarnation)))
	if err != nil || info.Incarnation == 0 {
		return Info{}, refuse(http.StatusBadRequest, "%s %.20q: want 16 hexadecimal digits in lower case, not all 0",
			headerIncarnation, h.Get(headerIncarnation))
	}
	return info, nil
}

// hasToken reports whether the comma-separated values of a header hold token (RFC 9110, section 5.6.1).
func hasToken(values []string, token string) bool {
	return slices.ContainsFunc(strings.Split(strings.Join(values, ","), ","), func(value string) bool {
		return strings.EqualFold(strings.TrimSpace(value), token)
	})
}

// question is the request of a dialer.
type question struct {
	stream string
	self   Info
	spoken versions
	peer   node // the node that has to answer
}

// ask requests a stream on conn. It returns the node that has answered, and the bytes that came right behind its answer.
// The caller bounds it with a deadline.
func (q question) ask(conn net.Conn) (info Info, early []byte, err error) {
	req := &http.Request{
		Method: http.MethodGet,
		URL:    &url.URL{Path: streamsPath + "/" + q.stream},
		Host:   protocol,
		Header: headerOf(q.self),
	}
	q.spoken.set(req.Header)
	answer, reader, err := roundTrip(conn, req)
	if err != nil {
		return Info{}, nil, err
	}
	defer answer.Body.Close()
	if info, err = q.parse(answer); err != nil {
		return Info{}, nil, err
	}
	early, err = reader.Peek(reader.Buffered())
	return info, early, err
}

// roundTrip sends a request and returns the answer, whose size is bounded, and its reader.
func roundTrip(conn net.Conn, req *http.Request) (*http.Response, *bufio.Reader, error) {
	req.Header.Set("User-Agent", "") // else net/http adds its own
	writeErr := req.Write(conn)      // a listener may refuse before it has read everything
	// The reader reads ahead less than its buffer, so that the limit counts the header only.
	reader := bufio.NewReader(io.LimitReader(conn, maxHeader))
	answer, err := http.ReadResponse(reader, req)
	if err != nil {
		return nil, nil, cmp.Or(writeErr, fmt.Errorf("read the answer: %w", err))
	}
	return answer, reader, nil
}

func (q question) parse(answer *http.Response) (Info, error) {
	if answer.StatusCode != http.StatusSwitchingProtocols {
		reason, err := io.ReadAll(io.LimitReader(answer.Body, maxReason))
		if err != nil {
			return Info{}, fmt.Errorf("read the reason of status %d: %w", answer.StatusCode, err)
		}
		refused := refuse(answer.StatusCode, "%s", strings.TrimSpace(string(reason)))
		refused.version = refusedVersion(answer)
		return Info{}, refused
	}
	refused := cmp.Or(checkUpgrade(answer.Header), q.spoken.check(answer.Header))
	if refused != nil {
		return Info{}, refuse(0, "%s", refused.reason)
	}
	info, refused := parseInfo(answer.Header, q.self.Cluster)
	if refused != nil {
		return Info{}, refuse(0, "%s", refused.reason)
	}
	if info.node() != q.peer {
		return Info{}, refuse(0, "node %v answers on the socket of node %v", info.node(), q.peer)
	}
	return info, nil
}

// refusedVersion returns the version that a refusal names, or 0 if it was not the version that was refused.
func refusedVersion(answer *http.Response) int {
	if answer.StatusCode != http.StatusUpgradeRequired || !hasToken(answer.Header["Upgrade"], protocol) {
		return 0
	}
	text := answer.Header.Get(headerVersion)
	if text == "" {
		return unnamedVersion
	}
	version, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return version
}
