// Package ways has every way to share a port among processes that we know of, each as real processes behind the same
// handler, for a comparison. README.md says what each does, with which settings, and what was measured of the ones that
// are written here.
//
// All answer GET / with 200, the body "hello\n" and a header "Worker: PID", keep a connection open, and obey "Connection:
// close". With /?burn=N the worker first uses N microseconds of CPU: of the time of its thread, not of the clock, so that a
// worker which waits for a CPU has the same work as one that does not. Nginx cannot, see Way.Burns.
//
// The servers are this program again, so main begins with child.Become(ways.Roles()).
//
// It is for Linux. Elsewhere there is Roles alone, which returns none.
package ways

import (
	"fmt"
	"net"
	"runtime"
)

// Config says how a server is started. The zero value but for Dir works.
type Config struct {
	Workers int    // processes that answer requests; default: one for each CPU
	Dir     string // an existing directory, for a directory of the server's own, which Stop removes
	Addr    string // an IP address and a port, which may be 0; default: "127.0.0.1:0"
}

func (c Config) withDefaults() (Config, error) {
	if c.Workers < 0 {
		return c, fmt.Errorf("ways: %d workers: there must be some", c.Workers)
	}
	if c.Dir == "" {
		return c, fmt.Errorf("ways: no directory: set Config.Dir")
	}
	if c.Workers == 0 {
		c.Workers = runtime.NumCPU()
	}
	if c.Addr == "" {
		c.Addr = net.JoinHostPort("127.0.0.1", "0")
	}
	return c, nil
}

// share is the GOMAXPROCS of a worker that is written in Go: its share of the CPUs, rounded up.
func (c Config) share() int { return (runtime.NumCPU() + c.Workers - 1) / c.Workers }

// Way is one way to share a port.
type Way struct {
	Name  string // short, for tables and flags
	Title string // one line for somebody who has not seen this project
	Other bool   // its handler is not net/http: a figure tells also of that
	Burns bool   // its handler can use CPU time

	// Lookup is nil, or returns an error that says what is missing here, and how to install it.
	Lookup func() error

	plan plan
}

// All returns the ways, the baseline first.
func All() []Way {
	node := installed(nodeProgram(), "nodejs, or set "+nodeVariable+" to the program")
	return []Way{
		{Name: "go", Title: "one net/http process on all CPUs", Burns: true, plan: baseline()},
		{
			Name: "reuseport", Title: "each process binds the port with SO_REUSEPORT, the kernel chooses by its hash",
			Burns: true, plan: clustered("hash"),
		},
		{
			Name: "multinode", Title: "the same, and the master steers the kernel's choice (package cluster by default)",
			Burns: true, plan: clustered(""),
		},
		{
			Name: roundRobin, Title: "the master accepts and passes each descriptor to a worker, in turn",
			Burns: true, plan: crewed(roundRobin),
		},
		{
			Name: leastConnections, Title: "the master accepts and passes each descriptor to the worker with the fewest connections",
			Burns: true, plan: crewed(leastConnections),
		},
		{
			Name: proxied, Title: "the master accepts, and copies the bytes from and to a worker's Unix socket",
			Burns: true, plan: crewed(proxied),
		},
		{
			Name: inherited, Title: "all workers accept from one listener that they inherit (classic prefork)",
			Burns: true, plan: crewed(inherited),
		},
		{
			Name: "fasthttp", Title: "prefork of fasthttp, with SO_REUSEPORT", Other: true, Burns: true,
			plan: preforked(fasthttpRole, "fasthttp", "github.com/valyala/fasthttp", "prefork with Reuseport"),
		},
		{
			Name: "fiber", Title: "prefork of Fiber, with SO_REUSEPORT", Other: true, Burns: true,
			plan: preforked(fiberRole, "fiber", "github.com/gofiber/fiber/v3", "EnablePrefork"),
		},
		{
			Name: "node-rr", Title: "cluster of Node.js: the master accepts and passes descriptors, in turn (its default)",
			Other: true, Burns: true, Lookup: node, plan: nodeCluster("rr"),
		},
		{
			Name: "node-none", Title: "cluster of Node.js: all workers accept from one listener (SCHED_NONE)",
			Other: true, Burns: true, Lookup: node, plan: nodeCluster("none"),
		},
		{
			Name: "nginx", Title: "nginx with reuseport: each worker has a listener of its own", Other: true,
			Lookup: installed("nginx", "nginx-light"), plan: nginx(),
		},
		{
			Name: "gunicorn", Title: "gunicorn with --reuse-port: Python processes that accept from one listener", Other: true,
			Burns: true, Lookup: installed("gunicorn", "gunicorn"), plan: gunicorn(),
		},
	}
}
