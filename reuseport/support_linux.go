package reuseport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// probeLimit bounds the connection with which Attach is tried.
const probeLimit = 2 * time.Second

// kernel is the version of this kernel, and its known faults.
type kernel struct {
	release  string
	version  version
	known    bool // the version is
	reattach error
}

var thisKernel = sync.OnceValue(readKernel)

// attachProbe keeps what the kernel has answered, but not what has kept us from asking, such as too many open files.
var attachProbe struct {
	sync.Mutex
	answered bool
	err      error
}

func probeSupport() Support {
	k := thisKernel()
	s := Support{
		Attach:        probeAttach(),
		Reattach:      k.reattach,
		IncomingCPU:   k.since(incomingCPUSince, "SO_INCOMING_CPU within a group"),
		Migrate:       migrates(),
		WakesMigrated: k.known && fixedWakeup.in(k.version),
		Kernel:        k.release,
	}
	s.Rung = s.best()
	s.Advice = s.advise(k)
	return s
}

func (s Support) best() Rung {
	steers := s.Attach == nil && s.Reattach == nil
	switch {
	case steers && s.Migrate == nil:
		return RungBPFMigrate
	case steers:
		return RungBPF
	case supported() == nil && s.IncomingCPU == nil:
		return RungIncomingCPU
	}
	return RungHash
}

func (s Support) advise(k kernel) (advice []Advice) {
	if s.Reattach != nil {
		advice = append(advice, Advice{
			Gives:   "workers leave without losing a connection",
			Command: fmt.Sprintf("# update the kernel to Linux %s or later, or to one of the distribution with the fix of CVE-2026-52910", fixedReattach.next(k.version)),
		})
	}
	if s.Migrate != nil && k.since(migrateSince, "") == nil {
		advice = append(advice, Advice{
			Gives:   "what waits in the queue of a worker that crashes moves to the others",
			Command: "sysctl -w net.ipv4.tcp_migrate_req=1",
		})
	}
	return advice
}

func (k kernel) since(v version, what string) error {
	if !k.known || k.version.compare(v) < 0 {
		return errUnsupported(fmt.Sprintf("%s needs Linux %d.%d, and this is %s", what, v.major, v.minor, k.release))
	}
	return nil
}

func readKernel() kernel {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return kernel{reattach: errors.Join(os.NewSyscallError("uname", err), errors.ErrUnsupported)}
	}
	signature, _ := os.ReadFile("/proc/version_signature") // only Ubuntu has it
	k := kernel{release: unix.ByteSliceToString(name.Release[:])}
	k.version, k.known = parseVersion(k.release, unix.ByteSliceToString(name.Version[:]), string(signature))
	k.reattach = k.reattaches()
	return k
}

// reattaches asks the kernel's own symbols, and where those are hidden, its version.
func (k kernel) reattaches() error {
	answer := symbolsSilent
	if symbols, err := os.Open("/proc/kallsyms"); err == nil {
		answer = searchSymbols(symbols)
		symbols.Close()
	}
	if answer == symbolsFixed || answer == symbolsSilent && k.known && fixedReattach.in(k.version) {
		return nil
	}
	return errUnsupported(fmt.Sprintf("replacing a program under traffic is not known to be safe in Linux %s (CVE-2026-52910, fixed in %s)",
		k.release, fixedReattach.next(k.version)))
}

func probeAttach() error {
	attachProbe.Lock()
	defer attachProbe.Unlock()
	if !attachProbe.answered {
		attachProbe.err = tryAttach()
		attachProbe.answered = attachProbe.err == nil || errors.Is(attachProbe.err, errors.ErrUnsupported)
	}
	return attachProbe.err
}

// tryAttach marks a connection for the second of two listeners, and looks where it goes.
func tryAttach() error {
	if err := supported(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), probeLimit)
	defer cancel()
	err := attachOn(ctx, "127.0.0.1:0")
	if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL) {
		err = attachOn(ctx, "[::1]:0")
	}
	if errors.Is(err, unix.ENOPROTOOPT) || errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("%w: %w", errUnsupported("this kernel attaches no program"), err)
	}
	return err
}

func attachOn(ctx context.Context, address string) error {
	first, err := Listen(ctx, "tcp", address, Options{})
	if err != nil {
		return err
	}
	defer first.Close()
	second, err := Listen(ctx, "tcp", first.Addr().String(), Options{})
	if err != nil {
		return err
	}
	defer second.Close()
	q, err := NewQuestion(ctx, first.Addr().(*net.TCPAddr))
	if err != nil {
		return err
	}
	defer q.Close()
	if err := Attach(first, Steering{Mark: &Mark{Port: q.Port(), Index: 1}}); err != nil {
		return err
	}
	if err := q.Connect(ctx); err != nil {
		return err
	}
	return poll(ctx, func() (bool, error) {
		stats, err := queue(second)
		return stats.Length == 1, err
	}, func() error { return errUnsupported("this kernel attaches a program and does not follow it") })
}

// migrates reads the sysctl, which belongs to the network namespace. It may change at any time.
func migrates() error {
	const name = "net.ipv4.tcp_migrate_req"
	value, err := os.ReadFile("/proc/sys/net/ipv4/tcp_migrate_req")
	switch {
	case errors.Is(err, os.ErrNotExist):
		return errUnsupported(name + " is not there (Linux 5.14)")
	case err != nil:
		return fmt.Errorf("%s: %w: %w", name, err, errors.ErrUnsupported)
	case strings.TrimSpace(string(value)) != "1":
		return errUnsupported(fmt.Sprintf("%s is %s", name, strings.TrimSpace(string(value))))
	}
	return nil
}

func setIncomingCPU(l syscall.Conn, cpu int) error {
	return control(l, func(fd int) error { return setOption(fd, unix.SO_INCOMING_CPU, cpu) })
}

func onlineCPUs() int {
	list, err := os.ReadFile("/sys/devices/system/cpu/online")
	if err != nil {
		return 0
	}
	count, err := parseCPUs(string(list))
	if err != nil {
		return 0
	}
	return count
}
