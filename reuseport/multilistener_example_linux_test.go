package reuseport_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"

	"github.com/multinode-go/multinode/reuseport"
)

// A server that watches the queue of another listener of its port answers what comes to it while its process is busy, stopped or dead.
// The two are in one process here; otherwise [reuseport.Send] and [reuseport.Receive] pass what is lent over a Unix socket.
func ExampleMultiListener() {
	ctx := context.Background()
	open := func(address string) *reuseport.MultiListener {
		l, err := reuseport.Listen(ctx, "tcp", address, reuseport.Options{})
		if err != nil {
			log.Fatal(err)
		}
		m, err := reuseport.NewMultiListener(l, reuseport.MultiOptions{})
		if err != nil {
			log.Fatal(err)
		}
		return m
	}
	stuck := open("127.0.0.1:0") // nothing accepts from it
	defer stuck.Close()
	helper := open(stuck.Addr().String())
	lent, err := stuck.Lend(0)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := helper.Watch(lent); err != nil {
		log.Fatal(err)
	}
	server := &http.Server{}
	defer server.Close()
	go func() { _ = server.Serve(helper) }() // ends with Close

	answered := 0
	for range 20 { // some come to each of the two queues
		conn, err := net.Dial("tcp", stuck.Addr().String())
		if err != nil {
			log.Fatal(err)
		}
		fmt.Fprint(conn, "GET / HTTP/1.0\r\n\r\n")
		if n, _ := conn.Read(make([]byte, 12)); n == 12 {
			answered++
		}
		conn.Close()
	}
	fmt.Println(answered, "answers")
	// Output: 20 answers
}
