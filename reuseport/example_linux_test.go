package reuseport_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/multinode-go/multinode/reuseport"
)

func ExampleListen() {
	ctx := context.Background()
	first, err := reuseport.Listen(ctx, "tcp", "127.0.0.1:0", reuseport.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer first.Close()
	// Usually in another process.
	second, err := reuseport.Listen(ctx, "tcp", first.Addr().String(), reuseport.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer second.Close()
	fmt.Println(first.Addr().String() == second.Addr().String())
	// Output: true
}

func ExampleOptions() {
	l, err := reuseport.Listen(context.Background(), "tcp", "127.0.0.1:0", reuseport.Options{
		Control: func(_, _ string, c syscall.RawConn) error {
			var optErr error
			err := c.Control(func(fd uintptr) {
				optErr = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_FASTOPEN, 256)
			})
			if err != nil {
				return err
			}
			return optErr
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
}

func ExampleReservation() {
	ctx := context.Background()
	r, err := reuseport.Reserve(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()

	_, err = reuseport.Reserve(ctx, "tcp", r.Addr().String())
	fmt.Println("again:", err != nil)
	l, err := reuseport.Listen(ctx, "tcp", r.Addr().String(), reuseport.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	fmt.Println("listening:", l.Addr().String() == r.Addr().String())
	// Output:
	// again: true
	// listening: true
}

func ExampleQueueStats() {
	l, err := reuseport.Listen(context.Background(), "tcp", "127.0.0.1:0", reuseport.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	queue, err := reuseport.Queue(l)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(queue.Length, "waiting, full:", queue.Length > queue.Limit)
	// Output: 0 waiting, full: false
}

func ExampleOwner() {
	ctx := context.Background()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	owners, err := reuseport.Owners(ctx, "tcp", l.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	for _, owner := range owners {
		fmt.Println("held by", owner) // held by nginx (pid 1234)
	}
}
