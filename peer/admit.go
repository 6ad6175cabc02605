package peer

import (
	"log/slog"
	"maps"
	"net"
	"net/http"
	"strconv"

	"github.com/multinode-go/multinode/peer/internal/localhttp"
)

// admission is a stream that is granted to a dialer.
type admission struct {
	name   string
	from   Info
	header http.Header   // of the answer
	handle func(*Stream) // handles the stream
	drop   func()        // replaces handle if the stream fails; may be nil
}

// admissions grant or refuse the requests for streams.
type admissions struct {
	*core
	members *members
	streams *streams
}

func (ad *admissions) handleStream(w http.ResponseWriter, r *http.Request) {
	a, refused := ad.admit(r)
	if refused != nil {
		level := slog.LevelWarn
		if refused.status == http.StatusNotFound {
			level = slog.LevelDebug // no failure: the peer has asked, and knows now
		}
		ad.log.Log(r.Context(), level, "stream refused", "stream", a.name, "pid", a.from.PID, "reason", refused.reason)
		maps.Copy(w.Header(), refused.header)
		http.Error(w, refused.reason, refused.status)
		return
	}
	if !ad.grant(w, a) && a.drop != nil {
		a.drop()
	}
}

// grant makes the connection of a request a stream.
func (ad *admissions) grant(w http.ResponseWriter, a admission) bool {
	conn, early, err := switchProtocols(w, a.header)
	if err != nil {
		ad.log.Warn("stream failed", "stream", a.name, "peer", a.from.node().String(), "error", err)
		return false
	}
	if !ad.track(conn, a.from.node()) {
		return false
	}
	if !ad.run(func() { a.handle(newStream(ad.core, conn, a.name, a.from, early)) }) {
		_ = ad.release(conn) // the mesh was closed meanwhile
		return false
	}
	return true
}

// admit decides about a request. It returns the stream's name and the pid also when it refuses the request.
func (ad *admissions) admit(r *http.Request) (a admission, refused *refusedError) {
	a.name = r.PathValue("name")
	a.from.PID, _, _ = localhttp.Credentials(localhttp.Conn(r)) // Accept has looked at the error
	if err := checkStream(a.name); err != nil {
		return a, refuse(http.StatusBadRequest, "%v", err)
	}
	if isWebSocket(r.Header) {
		return ad.admitWebSocket(a, r)
	}
	pid := a.from.PID
	from, version, refused := parseRequest(r.Header, ad.self.Cluster, ad.opts.versions)
	a.from, a.from.PID = from, pid
	if refused != nil {
		if refused.status == http.StatusUpgradeRequired {
			refused.header = http.Header{ // RFC 9110, section 15.5.22
				"Upgrade": {protocol}, headerVersion: {strconv.Itoa(ad.opts.versions.newest)},
			}
		}
		return a, refused
	}
	a.header = headerOf(ad.self)
	a.header.Set(headerVersion, strconv.Itoa(version))
	return ad.admitNode(a)
}

// admitNode finds the handler of a stream that a node has dialed.
func (ad *admissions) admitNode(a admission) (admission, *refusedError) {
	if a.name == linkStream {
		if a.from.ID >= ad.self.ID {
			return a, refuse(http.StatusForbidden, "node %d dials the link to node %d, whose id is not higher",
				a.from.ID, ad.self.ID)
		}
		a.handle = ad.acceptLink
		return a, nil
	}
	if l := ad.streams.listener(a.name); l != nil {
		if !ad.members.isMember(a.from) { // it counts us as a member already, or still
			return a, refuse(http.StatusServiceUnavailable, "node %d is no member for node %d", a.from.ID, ad.self.ID)
		}
		return admitTo(l, a)
	}
	o := ad.streams.offerFor(a.name, a.from)
	if o == nil {
		return a, refuse(http.StatusNotFound, "node %d wants no stream %q with node %d", ad.self.ID, a.name, a.from.ID)
	}
	a.handle = o.handle
	return a, nil
}

// admitTo takes a place at a listener for a stream.
func admitTo(l *Listener, a admission) (admission, *refusedError) {
	if !l.takePlace() {
		return a, refuse(http.StatusServiceUnavailable, "%d streams %q are waiting to be accepted", maxBacklog, a.name)
	}
	a.handle, a.drop = l.deliver, l.freePlace
	return a, nil
}

// acceptLink runs a link that a peer has dialed.
func (ad *admissions) acceptLink(stream *Stream) {
	if err := ad.members.runLink(stream); err != nil {
		ad.log.Warn("link failed", "peer", stream.peer.node().String(), "error", err)
	}
}

// switchProtocols sends the answer and takes the connection over, with the bytes that came right behind the request.
func switchProtocols(w http.ResponseWriter, header http.Header) (*net.UnixConn, []byte, error) {
	maps.Copy(w.Header(), header)
	w.WriteHeader(http.StatusSwitchingProtocols)
	return localhttp.Hijack(w)
}
