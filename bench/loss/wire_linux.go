package loss

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// wire is two network namespaces, and between them what delays and loses packets: a TUN device at each end, and this
// process in the middle. So the kernels at both ends have real handshakes of that time, which no proxy would show.
type wire struct {
	ends    [2]*namespace
	delay   atomic.Int64  // the longest, of a packet, in nanoseconds; each connection has its own
	lost    atomic.Uint64 // of 2^32 packets
	packets atomic.Int64
	dropped atomic.Int64
	running sync.WaitGroup
}

const mtu = 1500

func newWire() (w *wire, err error) {
	w = new(wire)
	for i := range w.ends {
		if w.ends[i], err = newNamespace(i + 1); err != nil {
			return nil, errors.Join(err, w.close())
		}
	}
	w.running.Go(func() { w.carry(w.ends[0].tun, w.ends[1].tun) }) // both end with the devices
	w.running.Go(func() { w.carry(w.ends[1].tun, w.ends[0].tun) })
	return w, nil
}

func (w *wire) close() (err error) {
	for _, n := range w.ends {
		if n != nil {
			err = errors.Join(err, n.close())
		}
	}
	w.running.Wait()
	return err
}

// site has its clients at one end and its servers at the other.
func (w *wire) site() site {
	return site{server: w.ends[1].do, client: w.ends[0].do, hosts: []string{"10.77.0.2", "fd77::2"}}
}

// carry takes packets from one device to the other.
func (w *wire) carry(from, to *os.File) {
	buffer := make([]byte, 2*mtu)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		w.packets.Add(1)
		if uint64(rand.Uint32()) < w.lost.Load() {
			w.dropped.Add(1)
			continue
		}
		packet := bytes.Clone(buffer[:n])
		time.AfterFunc(w.delayOf(packet), func() { _, _ = to.Write(packet) }) // one that does not go is lost, as on any wire
	}
}

// delayOf returns the delay of the connection to which a packet belongs, the same in both directions: no packet of a
// connection overtakes another by much.
func (w *wire) delayOf(packet []byte) time.Duration {
	longest := w.delay.Load()
	header := 20
	if packet[0]>>4 == 6 {
		header = 40
	}
	if longest == 0 || len(packet) < header+4 {
		return 0
	}
	ports := uint64(packet[header])<<8 + uint64(packet[header+1]) + uint64(packet[header+2])<<8 + uint64(packet[header+3])
	return time.Duration(ports * 0x9E3779B97F4A7C15 >> 1 % uint64(longest))
}

// namespace is a network namespace with one end of a wire. A thread of its own is in it.
type namespace struct {
	tun  *os.File
	work chan func()
	done chan struct{} // closed when the thread is gone
}

func newNamespace(number int) (*namespace, error) {
	n := &namespace{work: make(chan func()), done: make(chan struct{})}
	go n.run() // ended by close
	if err := n.do(func() error { return n.set(number) }); err != nil {
		return nil, errors.Join(err, n.close())
	}
	return n, nil
}

// run does the work in a thread that ends with it, and the namespace with the last that is in it.
func (n *namespace) run() {
	defer close(n.done)
	runtime.LockOSThread()
	for f := range n.work {
		f()
	}
}

// do calls f in the namespace: what it starts is there, too.
func (n *namespace) do(f func() error) error {
	result := make(chan error, 1)
	n.work <- func() { result <- f() }
	return <-result
}

func (n *namespace) close() (err error) {
	close(n.work)
	<-n.done
	if n.tun != nil {
		err = n.tun.Close()
	}
	return err
}

// set makes the namespace, and a device in it.
func (n *namespace) set(number int) error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: "/dev/net/tun", Err: err}
	}
	const device = "wire"
	request, err := unix.NewIfreq(device)
	if err != nil {
		return errors.Join(err, unix.Close(fd))
	}
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		return errors.Join(os.NewSyscallError("ioctl TUNSETIFF", err), unix.Close(fd))
	}
	n.tun = os.NewFile(uintptr(fd), device)
	for _, args := range [][]string{
		{"link", "set", "lo", "up"},
		{"addr", "add", fmt.Sprintf("10.77.0.%d/24", number), "dev", device},
		{"-6", "addr", "add", fmt.Sprintf("fd77::%d/64", number), "dev", device, "nodad"},
		{"link", "set", device, "mtu", fmt.Sprint(mtu), "txqueuelen", "10000", "up"},
	} {
		if out, err := exec.CommandContext(context.Background(), "ip", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %v: %w: %s", args, err, out)
		}
	}
	return nil
}
