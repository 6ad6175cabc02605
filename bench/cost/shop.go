package cost

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/multinode-go/multinode/bench/internal/child"
)

const (
	// products is how many a new catalogue has.
	products = 1000
	// writeShare is the share of the requests that change a product.
	writeShare = 0.1
	// zipf is the exponent of how often products are asked for: the k-th as often as 1/k to that power.
	zipf = 1.01
)

// shop is a load on a catalogue. Each request goes to the connection that is
// free; without a rate, each connection sends the next request when it has its answer.
type shop struct {
	Addr           string
	Connections    int
	Warm, Duration time.Duration
	Rate           float64 // requests a second of all connections together, at random; 0: a closed loop
	Seed           uint64
}

// shopResult is what it answers.
type shopResult struct {
	Reads, FromDatabase int64
	Writes, Conflicts   int64 // a conflict is a write that came after another one; it also reads
}

// shopper is the load process.
type shopper struct {
	shop
	counts, end time.Time
	versions    [products + 1]atomic.Int64 // that were seen last

	mu    sync.Mutex
	times *hdrhistogram.Histogram // guarded by mu; of reads
	r     result                  // guarded by mu
}

// runShop is that process.
func runShop() error {
	s := &shopper{times: newHistogram()}
	if err := child.Task(&s.shop); err != nil {
		return err
	}
	if err := s.look(); err != nil {
		return err
	}
	now := time.Now()
	s.counts, s.end = now.Add(s.Warm), now.Add(s.Warm+s.Duration)
	due := make(chan time.Time, 10*s.Connections)
	failures := make([]error, s.Connections)
	var customers sync.WaitGroup
	for i := range s.Connections {
		customers.Go(func() { failures[i] = s.buy(due, rand.New(rand.NewPCG(s.Seed, uint64(i)))) })
	}
	if s.Rate > 0 {
		atRandom(due, s.Rate, s.end, rand.New(rand.NewPCG(s.Seed, products)))
	}
	close(due)
	customers.Wait()
	if err := errors.Join(failures...); err != nil {
		return err
	}
	s.r.Elapsed = s.Duration
	s.r.P50, s.r.P99 = time.Duration(s.times.ValueAtQuantile(50)), time.Duration(s.times.ValueAtQuantile(99))
	return json.NewEncoder(os.Stdout).Encode(s.r)
}

// atRandom sends the times at which requests are due: a Poisson process.
func atRandom(due chan<- time.Time, rate float64, end time.Time, random *rand.Rand) {
	for at := time.Now(); at.Before(end); at = at.Add(time.Duration(random.ExpFloat64() / rate * float64(time.Second))) {
		time.Sleep(time.Until(at))
		due <- at
	}
}

// look learns all versions.
func (s *shopper) look() error {
	c := &customer{addr: s.Addr}
	defer c.hangUp()
	for after := int64(0); after < products; {
		answer, err := c.ask(http.MethodGet, fmt.Sprintf("/products?limit=500&after=%d", after), nil)
		if err != nil {
			return err
		}
		var list struct{ Products []product }
		if err := json.Unmarshal(answer.body, &list); err != nil || len(list.Products) == 0 {
			return fmt.Errorf("a list of products after %d: %w: %s", after, err, answer.body)
		}
		for _, p := range list.Products {
			s.versions[p.ID].Store(p.Version)
			after = p.ID
		}
	}
	return nil
}

// product is one as it is in JSON.
type product struct {
	ID      int64  `json:"id"`
	Name    string `json:"name"`
	Price   int64  `json:"price"`
	Version int64  `json:"version"`
}

// buy makes requests until there are no more.
func (s *shopper) buy(due <-chan time.Time, random *rand.Rand) error {
	c := &customer{addr: s.Addr}
	defer c.hangUp()
	popular := rand.NewZipf(random, zipf, 1, products-1)
	for {
		at, ok := <-due
		if !ok {
			if at = time.Now(); s.Rate > 0 || at.After(s.end) {
				return nil
			}
		}
		id := int64(popular.Uint64()) + 1
		isWrite := random.Float64() < writeShare
		answer, err := s.request(c, id, isWrite)
		if err != nil {
			return err
		}
		s.count(at, time.Now(), isWrite, answer)
	}
}

func (s *shopper) request(c *customer, id int64, isWrite bool) (a reply, err error) {
	path := fmt.Sprintf("/products/%d", id)
	if isWrite {
		body, err := json.Marshal(product{ID: id, Name: "Oak bowl, small", Price: 100 + id, Version: s.versions[id].Load()})
		if err != nil {
			return a, err
		}
		a, err = c.ask(http.MethodPut, path, body)
		if err != nil {
			return a, err
		}
	} else if a, err = c.ask(http.MethodGet, path, nil); err != nil {
		return a, err
	}
	version, err := a.version()
	if err != nil {
		return a, err
	}
	for known := s.versions[id].Load(); known < version && !s.versions[id].CompareAndSwap(known, version); {
		known = s.versions[id].Load()
	}
	return a, nil
}

func (s *shopper) count(at, now time.Time, isWrite bool, a reply) {
	if at.Before(s.counts) || now.After(s.end) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.r.Requests++
	switch {
	case a.status == http.StatusConflict:
		s.r.Shop.Conflicts++
	case isWrite:
		s.r.Shop.Writes++
	default:
		s.r.Shop.Reads++
		if a.source == "database" {
			s.r.Shop.FromDatabase++
		}
		_ = s.times.RecordValue(min(max(1e3, now.Sub(at).Nanoseconds()), 10e9)) // in range
	}
}

// customer is a connection.
type customer struct {
	addr string
	conn net.Conn
	in   *bufio.Reader
}

// reply is an answer.
type reply struct {
	status int
	source string
	body   []byte
}

// version returns that of the product as it is now.
func (a reply) version() (int64, error) {
	var p struct {
		product
		Current product
	}
	if err := json.Unmarshal(a.body, &p); err != nil {
		return 0, fmt.Errorf("answer %q: %w", a.body, err)
	}
	return max(p.Version, p.Current.Version), nil
}

func (c *customer) ask(method, path string, body []byte) (a reply, err error) {
	if c.conn == nil {
		if c.conn, err = new(net.Dialer).DialContext(context.Background(), "tcp", c.addr); err != nil {
			return a, err
		}
		c.in = bufio.NewReader(c.conn)
	}
	message := fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: bench\r\nContent-Length: %d\r\n\r\n%s", method, path, len(body), body)
	if _, err := c.conn.Write(message); err != nil {
		return a, err
	}
	response, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return a, err
	}
	defer response.Body.Close()
	a.status, a.source = response.StatusCode, response.Header.Get("Source")
	if a.body, err = io.ReadAll(response.Body); err != nil {
		return a, err
	}
	if a.status != http.StatusOK && a.status != http.StatusConflict {
		return a, fmt.Errorf("%s %s: %d: %s", method, path, a.status, bytes.TrimSpace(a.body))
	}
	return a, nil
}

func (c *customer) hangUp() {
	if c.conn != nil {
		_ = c.conn.Close()
	}
}
