package protocol

import (
	"net/netip"
	"time"

	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/reuseport"
)

// Stream names the stream of the mesh between a master and each of its workers.
const Stream = "control"

// kind is the kind of a message. Other versions read its values, and the names of all fields.
type kind string

const kindAnswer kind = "answer"

// Messages of a worker to its master.
const (
	kindHello   kind = "hello"   // the first message
	kindReady   kind = "ready"   // the worker serves
	kindDrained kind = "drained" // it has closed its listeners
)

// Hello reports the state of a worker.
type Hello struct {
	Ready     bool       `json:"ready,omitempty"`
	Listeners []Listener `json:"seats,omitempty"`
}

// Listener is a listener of a worker, or a port that a master has handed over.
type Listener struct {
	Port     portgroup.Key       `json:"port"`
	Address  string              `json:"address"`
	Inode    uint32              `json:"inode"`             // 0: the port was handed over
	Snapshot *portgroup.Snapshot `json:"picture,omitempty"` // the last that the worker keeps
}

// Drained says how long it took to leave all ports.
type Drained struct {
	Took time.Duration `json:"took,omitempty"` // nanoseconds
}

// Requests of a worker to its master.
const (
	kindFailed  kind = "failed"
	kindReserve kind = "reserve"
	kindJoin    kind = "join"
	kindExclude kind = "exclude"
	kindLeave   kind = "leave"
)

type failedRequest struct {
	Error string `json:"error"` // with which the worker's node ends
}

// portRequest is a request about a port that holds nothing else.
type portRequest struct {
	Port portgroup.Key `json:"port"`
}

type reserveAnswer struct {
	Address string `json:"address"`
}

type excludeAnswer struct {
	Epoch int  `json:"epoch,omitempty"`
	Later bool `json:"again,omitempty"`
}

type leaveRequest struct {
	Port  portgroup.Key `json:"port"`
	Epoch int           `json:"epoch,omitempty"`
}

type leaveAnswer struct {
	Again bool `json:"again,omitempty"`
}

// Messages of a master to a worker.
const kindStop kind = "stop"

// Stop asks a worker to leave.
type Stop struct {
	Timeout time.Duration `json:"timeout,omitempty"` // nanoseconds
	All     bool          `json:"all,omitempty"`     // the whole cluster stops
}

// Requests of a master to a worker.
const (
	kindOpen     kind = "open"
	kindShut     kind = "shut"
	kindRejoin   kind = "move"
	kindAttach   kind = "attach"
	kindSnapshot kind = "picture"
	kindCPU      kind = "cpu"
	kindHelp     kind = "help"
	kindExpect   kind = "expect"
	kindAwait    kind = "await"
	kindForget   kind = "forget"
	kindProbe    kind = "probe"
)

type openRequest struct {
	Port    portgroup.Key `json:"port"`
	Address string        `json:"address"`
}

type openAnswer struct {
	Inode uint32 `json:"inode"`
}

type attachRequest struct {
	Port     portgroup.Key       `json:"port"`
	Steering *reuseport.Steering `json:"steering"`
	Until    time.Duration       `json:"until,omitempty"` // when it is too late, by CLOCK_MONOTONIC, nanoseconds; 0: never
}

type snapshotRequest struct {
	Port     portgroup.Key      `json:"port"`
	Snapshot portgroup.Snapshot `json:"picture"`
}

type cpuRequest struct {
	Port portgroup.Key `json:"port"`
	CPU  int           `json:"cpu"`
}

type helpRequest struct {
	Port portgroup.Key `json:"port"`
	Help bool          `json:"help"`
}

type probeRequest struct{}

// sourceRequest is a request about a probe connection to a port.
type sourceRequest struct {
	Port   portgroup.Key  `json:"port"`
	Source netip.AddrPort `json:"source"`
}

type awaitAnswer struct {
	Inode uint32 `json:"inode,omitempty"` // of the listener in whose queue it was; 0: the worker's own
}

type forgetAnswer struct {
	Came bool `json:"came,omitempty"`
}
