package reuseport

import (
	"cmp"
	"context"
	"iter"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/sys/unix"
)

func ownersOf(ctx context.Context, network, address string) ([]Owner, error) {
	if err := check("tcp", network); err != nil {
		return nil, err
	}
	var asked binding
	err := onSocket(ctx, network, address, func(fd int, addr netip.AddrPort) (err error) {
		asked, err = bindingOf(fd, addr)
		return err
	})
	if err != nil {
		return nil, err
	}
	sockets, err := boundSockets(asked)
	if err != nil {
		return nil, err
	}
	pids, err := pidsOf(ctx, sockets)
	if err != nil {
		return nil, err
	}
	return newOwners(sockets, pids), nil
}

// boundSockets returns the sockets that keep others from binding what is asked for, sorted, each one once: the kernel
// may show a socket twice when others go while it walks over its tables. A socket without an inode has been closed, and
// is about to go.
func boundSockets(asked binding) ([]diagSocket, error) {
	if asked.port == 0 { // no filter for the kernel, and the port of sockets that it is about to free
		return nil, nil
	}
	var sockets []diagSocket
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		found, err := dumpSockets(family, 1<<tcpListen|1<<tcpBoundInactive, asked.port)
		if err != nil {
			return nil, err
		}
		sockets = append(sockets, found...)
	}
	sockets = slices.DeleteFunc(sockets, func(s diagSocket) bool {
		return s.inode == 0 || !s.binding().overlaps(asked)
	})
	slices.SortFunc(sockets, func(a, b diagSocket) int {
		return cmp.Or(a.local.Compare(b.local), cmp.Compare(a.inode, b.inode))
	})
	return slices.CompactFunc(sockets, func(a, b diagSocket) bool { return a.inode == b.inode }), nil
}

func newOwners(sockets []diagSocket, pids map[uint32][]int) []Owner {
	var found []Owner
	for _, s := range sockets {
		o := Owner{Addr: s.local, Listening: s.state == tcpListen, UID: int(s.uid), Inode: s.inode}
		if len(pids[s.inode]) == 0 {
			found = append(found, o)
		}
		for _, pid := range pids[s.inode] {
			o.PID, o.Program = pid, program(pid)
			found = append(found, o)
		}
	}
	return found
}

// binding is the address and interface of a socket. An IPv6 socket without IPV6_V6ONLY is dual: it accepts IPv4 as well.
type binding struct {
	addr netip.Addr
	port uint16
	dual bool
}

func newBinding(addr netip.AddrPort, dual bool) binding {
	return binding{addr: addr.Addr().Unmap().WithZone(""), port: addr.Port(), dual: dual}
}

func bindingOf(fd int, addr netip.AddrPort) (binding, error) {
	if addr.Addr().Is4() {
		return newBinding(addr, false), nil
	}
	v6only, err := unix.GetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
	return newBinding(addr, v6only == 0), os.NewSyscallError("getsockopt", err)
}

func (s diagSocket) binding() binding {
	return newBinding(s.local, s.family == unix.AF_INET6 && !s.v6only)
}

func (b binding) overlaps(o binding) bool {
	return b.port == o.port && (b.covers(o) || o.covers(b))
}

// covers is ipv6_rcv_saddr_equal and ipv4_rcv_saddr_equal, seen from one side.
func (b binding) covers(o binding) bool {
	switch {
	case b.addr == o.addr:
		return true
	case !b.addr.IsUnspecified():
		return false
	case b.addr.Is4():
		return o.addr.Is4()
	default:
		return o.addr.Is6() || b.dual
	}
}

// pidsOf finds the processes that have the sockets open, as far as we may look: /proc/PID/fd is readable for its own
// uid and for root. A process that ends meanwhile is passed over.
func pidsOf(ctx context.Context, sockets []diagSocket) (map[uint32][]int, error) {
	inodes := make(map[string]uint32, len(sockets))
	for _, s := range sockets {
		inodes["socket:["+strconv.FormatUint(uint64(s.inode), 10)+"]"] = s.inode
	}
	pids := make(map[uint32][]int)
	if len(inodes) == 0 {
		return pids, nil
	}
	for pid := range processes() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		for target := range descriptorsOf(pid) {
			if inode, ok := inodes[target]; ok {
				pids[inode] = append(pids[inode], pid)
			}
		}
	}
	for _, list := range pids {
		slices.Sort(list)
	}
	return pids, nil
}

// processes goes through all processes; without /proc there are none.
func processes() iter.Seq[int] {
	return func(yield func(int) bool) {
		entries, _ := os.ReadDir("/proc")
		for _, entry := range entries {
			if pid, err := strconv.Atoi(entry.Name()); err == nil && !yield(pid) {
				return
			}
		}
	}
}

func holders(ctx context.Context, inode uint32) (found []Owner, err error) {
	pids, err := pidsOf(ctx, []diagSocket{{inode: inode}})
	for _, pid := range pids[inode] {
		found = append(found, Owner{PID: pid, Program: program(pid), Inode: inode})
	}
	return found, err
}

func visitor(ctx context.Context, network, address string, skip func(pid int) bool) (Owner, bool, error) {
	for pid := range processes() {
		held := socketsOf(pid)
		if len(held) == 0 || skip(pid) {
			continue
		}
		members, err := listenersOf(ctx, network, address)
		if err != nil {
			return Owner{}, false, err
		}
		for _, l := range members {
			if held[l.Inode] {
				return Owner{Addr: l.Addr, Listening: true, UID: l.UID, PID: pid, Program: program(pid), Inode: l.Inode}, true, nil
			}
		}
	}
	return Owner{}, false, ctx.Err()
}

// descriptorsOf returns what the descriptors of a process refer to, each target once.
func descriptorsOf(pid int) map[string]struct{} {
	targets := make(map[string]struct{})
	dir := "/proc/" + strconv.Itoa(pid) + "/fd/"
	fds, _ := os.ReadDir(dir)
	for _, fd := range fds {
		if target, err := os.Readlink(dir + fd.Name()); err == nil {
			targets[target] = struct{}{}
		}
	}
	return targets
}

// program returns the name of a process, without what would disturb a terminal: a process can call itself anything
// (PR_SET_NAME).
func program(pid int) string {
	name, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/comm")
	if err != nil {
		return ""
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.TrimSuffix(string(name), "\n"))
}
