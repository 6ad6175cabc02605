//go:build unix

package peer_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"syscall"
)

// A stream with large buffers in the kernel.
func ExampleStream_SyscallConn() {
	first, second, end := twoNodes()
	defer end()
	if _, err := second.Listen("bulk"); err != nil {
		log.Fatal(err)
	}
	stream, err := first.Dial(context.Background(), 2, "bulk")
	if err != nil {
		log.Fatal(err)
	}
	defer stream.Close()
	raw, err := stream.SyscallConn()
	if err != nil {
		log.Fatal(err)
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF, 1<<20)
	})
	fmt.Println(errors.Join(err, failed))
	// Output: <nil>
}
