package reuseport_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"time"

	"github.com/multinode-go/multinode/reuseport"
)

// pair opens a group of two.
func pair(ctx context.Context) (first, second *net.TCPListener) {
	first, err := reuseport.Listen(ctx, "tcp", "127.0.0.1:0", reuseport.Options{})
	if err != nil {
		log.Fatal(err)
	}
	second, err = reuseport.Listen(ctx, "tcp", first.Addr().String(), reuseport.Options{})
	if err != nil {
		log.Fatal(err)
	}
	return first, second
}

// One member leaves, and no connection is lost. The members are usually in several processes.
func ExampleDrain() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	first, second := pair(ctx)
	defer second.Close()
	order := reuseport.NewOrder(first, second)

	weights := make([]uint32, order.Len())
	weights[order.Index(second)] = 1
	if err := reuseport.Attach(second, reuseport.Steering{Weights: weights}); err != nil {
		log.Fatal(err)
	}
	// Meanwhile the server of the first member continues to accept.
	if _, err := reuseport.Drain(ctx, first); err != nil {
		log.Fatal(err)
	}
	first.Close()
	order.Leave(first)
	fmt.Println("left:", order.Len(), "at index", order.Index(second))
	// Output: left: 1 at index 0
}

// Who is at index 1?
func ExampleQuestion() {
	ctx := context.Background()
	first, second := pair(ctx)
	defer first.Close()
	defer second.Close()

	q, err := reuseport.NewQuestion(ctx, first.Addr().(*net.TCPAddr))
	if err != nil {
		log.Fatal(err)
	}
	defer q.Close()
	err = reuseport.Attach(first, reuseport.Steering{Mark: &reuseport.Mark{Port: q.Port(), Index: 1}})
	if err != nil {
		log.Fatal(err)
	}
	if err := q.Connect(ctx); err != nil {
		log.Fatal(err)
	}
	c, err := second.Accept()
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	fmt.Println("the second:", c.RemoteAddr().String() == q.Source().String())
	// Output: the second: true
}

// All members leave, and no established connection is reset.
func ExampleSink() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	first, second := pair(ctx)
	order := reuseport.NewOrder[any](first, second)
	if err := reuseport.Attach(first, reuseport.Steering{Weights: []uint32{1, 1}}); err != nil {
		log.Fatal(err)
	}

	sink, err := reuseport.NewSink(ctx, "tcp", first.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer sink.Close()
	order.Join(sink)
	attach := func(s reuseport.Steering) error { return reuseport.Attach(sink, s) }
	if err := sink.Fill(ctx, order.Index(sink), attach, []uint32{0, 0, 1}); err != nil {
		log.Fatal(err)
	}
	for _, l := range []*net.TCPListener{first, second} {
		weights := make([]uint32, order.Len())
		weights[order.Index(sink)] = 1
		if err := attach(reuseport.Steering{Weights: weights}); err != nil {
			log.Fatal(err)
		}
		if _, err := reuseport.Drain(ctx, l); err != nil {
			log.Fatal(err)
		}
		l.Close()
		order.Leave(l)
	}
	fmt.Println("left: the sink, at index", order.Index(sink))
	// Output: left: the sink, at index 0
}

func ExampleProbe() {
	s := reuseport.Probe()
	log.Printf("steering: %s. %s", s.Rung, s.Rung.Promise())
	for _, advice := range s.Advice {
		log.Printf("more: %s: %s", advice.Gives, advice.Command)
	}
}

func ExampleBorrow() {
	ctx := context.Background()
	nginx := []int{4711, 4712} // processes that we have started
	listening, err := reuseport.ListeningOf(ctx, nginx)
	if err != nil {
		log.Fatal(err)
	}
	for pid, listeners := range listening {
		for _, l := range listeners {
			b, err := reuseport.Borrow(pid, l.Inode)
			if err != nil {
				log.Fatal(err)
			}
			queue, err := reuseport.Queue(b)
			b.Close() // at once: while it is open the socket outlives its process
			if err != nil {
				log.Fatal(err)
			}
			fmt.Println(pid, l.Addr, queue.Length)
		}
	}
}

func ExampleListeners() {
	ctx := context.Background()
	first, second := pair(ctx)
	defer first.Close()
	defer second.Close()
	members, err := reuseport.Listeners(ctx, "tcp", first.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(members))
	// Output: 2
}
