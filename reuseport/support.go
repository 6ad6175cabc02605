package reuseport

import (
	"fmt"
	"slices"
	"syscall"
)

// Rung is how well the kernel lets us steer; each rung includes the lower ones.
type Rung int

// The rungs, in order.
const (
	RungHash        Rung = iota // the kernel's hash decides, always
	RungIncomingCPU             // a member can be left out through SO_INCOMING_CPU of the others
	RungBPF                     // weights are attached at run time, see Attach
	RungBPFMigrate              // the same, and the queue of a member that crashes moves to others
)

var rungNames = []string{"hash", "incoming-cpu", "cbpf", "cbpf+migrate"}

// String returns "hash", "incoming-cpu", "cbpf" or "cbpf+migrate".
func (r Rung) String() string {
	if r < RungHash || r > RungBPFMigrate {
		return fmt.Sprintf("Rung(%d)", int(r))
	}
	return rungNames[r]
}

// ParseRung is the inverse of String. Anything else is an error.
func ParseRung(s string) (Rung, error) {
	if i := slices.Index(rungNames, s); i >= 0 {
		return Rung(i), nil
	}
	return RungHash, fmt.Errorf("reuseport: %q is none of %q", s, rungNames)
}

// Promise says for people what is lost when a worker leaves as planned, and when it crashes.
func (r Rung) Promise() string {
	switch r {
	case RungIncomingCPU:
		return "A worker that leaves as planned loses no connection (Linux 5.7), but some that come meanwhile wait for a second where fewer " +
			"others are there than CPUs; a crash loses its connections and those that wait in its queue."
	case RungBPF:
		return "A worker that leaves as planned loses no connection; a crash loses its connections and those that wait in its queue."
	case RungBPFMigrate:
		return "A worker that leaves as planned loses no connection; a crash loses its own accepted connections only."
	default:
		return "A worker that leaves as planned loses no connection (Linux 5.7), but those that come to it meanwhile wait for a second; a crash " +
			"loses its connections and those that wait in its queue."
	}
}

// Advice is a way to get more.
type Advice struct {
	Gives   string // what it gives, in one clause
	Command string // what to type as root; or, beginning with "#", what to do
}

// Support is what this kernel can do for a group, and what of it this process may use.
type Support struct {
	// Rung is the best that holds here.
	Rung Rung

	// Attach is nil where a program can be attached and decides. It has been tried on sockets of our own on loopback.
	// Otherwise it says why not.
	Attach error

	// Reattach is nil where replacing a program while connections arrive is safe. Otherwise it Is errors.ErrUnsupported:
	// the kernel is one in which that uses memory after it has been freed (CVE-2026-52910), or may be one.
	Reattach error

	// IncomingCPU is nil where the kernel prefers, within a group, the member whose SO_INCOMING_CPU is the CPU that
	// handles the SYN (reuseport_select_sock_by_hash, since Linux 6.2). To leave a member out, each of [OnlineCPUs]
	// must be that of another member: see SetIncomingCPU. Otherwise it Is errors.ErrUnsupported.
	IncomingCPU error

	// Migrate is nil where what waits in the queue of a listener that is closed moves to another member of its group
	// (net.ipv4.tcp_migrate_req, since Linux 5.14). Otherwise it Is errors.ErrUnsupported and says what is missing.
	Migrate error

	// WakesMigrated is true where the member to which a connection has moved is woken for it. Otherwise (CVE-2026-46015)
	// each remaining member must try to accept once after any member has been closed.
	WakesMigrated bool

	// Kernel is the release, as in "6.1.0-18-amd64", or the name of another system.
	Kernel string

	// Advice is how to get a higher Rung, the greatest gain first. It may be empty.
	Advice []Advice
}

// Probe finds out what is supported. It opens sockets on the loopback address and reads /proc/kallsyms, some 30 ms, once
// in a process; the sysctl is read each time, some 20 us. Where the system is not Linux, each answer Is errors.ErrUnsupported and
// the rung is RungHash.
func Probe() Support { return probeSupport() }

// SetIncomingCPU makes l the preferred member of its group for the SYNs that are handled on a CPU (SO_INCOMING_CPU, see
// socket(7)); -1 is none, which is the default. A member without one gets nothing from the CPUs of which there is a
// preferred member. It needs no privilege, and Linux 6.2 for an effect. Elsewhere the error Is errors.ErrUnsupported.
func SetIncomingCPU(l syscall.Conn, cpu int) error {
	if err := setIncomingCPU(l, cpu); err != nil {
		return fmt.Errorf("reuseport: incoming CPU %d: %w", cpu, err)
	}
	return nil
}

// OnlineCPUs returns how many CPUs may handle a SYN: all CPUs that are online, not only those that this process may run on.
// They are numbered from 0; where a CPU below that number is offline, the highest ones have a number beyond it. It is 0
// where the system does not tell.
func OnlineCPUs() int { return onlineCPUs() }
