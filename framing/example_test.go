package framing_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"

	"github.com/multinode-go/multinode/framing"
)

func ExampleConn() {
	left, right := net.Pipe()
	ctx := context.Background()
	go func() { // usually in another process
		c := framing.New(right, framing.Options{})
		defer c.Close(framing.CodeNormal, "")
		_ = c.Send(ctx, map[string]string{"foo": "bar"})
		_ = c.Send(ctx, []byte{1, 2, 3})
	}()

	c := framing.New(left, framing.Options{})
	defer c.Close(framing.CodeNormal, "")
	err := c.Serve(ctx, func(m framing.Message) error {
		var v any
		if err := m.Decode(&v); err != nil {
			return err
		}
		fmt.Println(m.Type, v)
		return nil
	})
	if closed, ok := errors.AsType[*framing.CloseError](err); ok {
		fmt.Println("closed with", closed.Code)
	}
	// Output:
	// text map[foo:bar]
	// binary [1 2 3]
	// closed with 1000
}

func ExampleEncode() {
	ctx := context.Background()
	var conns, ends []*framing.Conn
	for range 3 {
		left, right := net.Pipe()
		conns = append(conns, framing.New(left, framing.Options{}))
		ends = append(ends, framing.New(right, framing.Options{}))
	}
	news, err := framing.Encode("news") // once, however many there are
	if err != nil {
		log.Fatal(err)
	}
	for i, c := range conns {
		if err := c.SendEncoded(ctx, news); err != nil {
			log.Fatal(err)
		}
		m, err := ends[i].Receive(ctx)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(string(m.Data))
		closeBoth(c, ends[i])
	}
	// Output:
	// "news"
	// "news"
	// "news"
}

func ExampleDecoder() {
	d := framing.NewDecoder(1000)
	for _, part := range []string{"\x81\x05he", "llo\x82", "\x00"} {
		n := copy(d.Buffer(), part)
		d.Advance(n)
		for {
			m, ok, err := d.Next()
			if err != nil {
				log.Fatal(err)
			}
			if !ok {
				break
			}
			fmt.Printf("%v %q\n", m.Type, m.Data)
		}
	}
	// Output:
	// text "hello"
	// binary ""
}
