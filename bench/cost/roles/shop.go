package roles

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/valyala/fasthttp"
)

const (
	// products is how many a new catalogue has.
	products = 1000
	// writeShare is the share of the requests that change a product.
	writeShare = 0.1
	// zipf is the exponent of how often products are asked for: the k-th as often as 1/k to that power.
	zipf = 1.01
)

// product is one as it is in JSON.
type product struct {
	ID      int64  `json:"id"`
	Name    string `json:"name"`
	Price   int64  `json:"price"`
	Version int64  `json:"version"`
}

// shopper is a load on a catalogue. Each request goes to the connection that is free; without a rate, each connection sends the
// next request when it has its answer. With a rate, requests come at random (a Poisson process).
type shopper struct {
	client      *fasthttp.HostClient
	counts, end time.Time

	mu       sync.Mutex
	versions [products + 1]int64     // guarded by mu; that were seen last
	times    *hdrhistogram.Histogram // guarded by mu; of reads
	r        Result                  // guarded by mu
}

func becomeShopper(_ context.Context, p Player) (actor, error) {
	return actor{can: actions{Buy: func(o Order) (Result, error) {
		s := &shopper{
			client: &fasthttp.HostClient{Addr: p.Server, MaxConns: o.Senders, MaxIdemponentCallAttempts: 1},
			times:  newHistogram(), r: Result{Elapsed: o.Duration},
		}
		defer s.client.CloseIdleConnections()
		err := s.run(o)
		s.r.Latency = latencies(s.times)
		return s.r, err
	}}}, nil
}

func (s *shopper) run(o Order) error {
	if err := s.look(); err != nil {
		return err
	}
	var customers []*customer
	for i := range o.Senders {
		random := rand.New(rand.NewPCG(0, uint64(i)))
		customers = append(customers, &customer{random: random, popular: rand.NewZipf(random, zipf, 1, products-1)})
	}
	now := time.Now()
	s.counts, s.end = now.Add(o.Warm), now.Add(o.Warm+o.Duration)
	p := pace{senders: o.Senders, begin: now, end: s.end, burst: 1}
	if o.Rate > 0 {
		random := rand.New(rand.NewPCG(0, products))
		p.next = func() time.Duration { return time.Duration(random.ExpFloat64() / o.Rate * float64(time.Second)) }
	}
	return p.run(func(i int, due time.Time) error { return s.buy(customers[i], due) })
}

// look learns all versions.
func (s *shopper) look() error {
	for after := int64(0); after < products; {
		answer, err := s.ask(new(customer), fasthttp.MethodGet, fmt.Sprintf("/products?limit=500&after=%d", after), nil)
		if err != nil {
			return err
		}
		var list struct{ Products []product }
		if err := json.Unmarshal(answer.Body(), &list); err != nil || len(list.Products) == 0 {
			return fmt.Errorf("a list of products after %d: %w: %s", after, err, answer.Body())
		}
		for _, p := range list.Products {
			s.versions[p.ID], after = p.Version, p.ID
		}
	}
	return nil
}

// customer asks again and again, for some products more often than for others.
type customer struct {
	random   *rand.Rand
	popular  *rand.Zipf
	request  fasthttp.Request
	response fasthttp.Response
}

// buy makes a request.
func (s *shopper) buy(c *customer, due time.Time) (err error) {
	id := int64(c.popular.Uint64()) + 1
	isWrite := c.random.Float64() < writeShare
	method, body := fasthttp.MethodGet, []byte(nil)
	if isWrite {
		method = fasthttp.MethodPut
		s.mu.Lock()
		version := s.versions[id]
		s.mu.Unlock()
		if body, err = json.Marshal(product{ID: id, Name: "Oak bowl, small", Price: 100 + id, Version: version}); err != nil {
			return err
		}
	}
	answer, err := s.ask(c, method, fmt.Sprintf("/products/%d", id), body)
	if err != nil {
		return err
	}
	now := time.Now()
	var p struct {
		product
		Current product // of a conflict
	}
	if err := json.Unmarshal(answer.Body(), &p); err != nil {
		return fmt.Errorf("answer %q: %w", answer.Body(), err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.versions[id] = max(s.versions[id], p.Version, p.Current.Version)
	if !due.Before(s.counts) && !now.After(s.end) {
		s.count(now.Sub(due), isWrite, answer)
	}
	return nil
}

// count is called with s.mu locked.
func (s *shopper) count(took time.Duration, isWrite bool, answer *fasthttp.Response) {
	s.r.Requests++
	switch {
	case answer.StatusCode() == fasthttp.StatusConflict:
		s.r.Conflicts++
	case isWrite:
		s.r.Writes++
	default:
		if string(answer.Header.Peek("Source")) == "database" {
			s.r.Misses++
		}
		record(s.times, took)
	}
}

// ask returns an answer that holds until the customer's next one.
func (s *shopper) ask(c *customer, method, path string, body []byte) (*fasthttp.Response, error) {
	c.request.Reset()
	c.request.Header.SetMethod(method)
	c.request.SetRequestURI("http://" + s.client.Addr + path)
	c.request.SetBody(body)
	if err := s.client.Do(&c.request, &c.response); err != nil {
		return nil, err
	}
	if code := c.response.StatusCode(); code != fasthttp.StatusOK && code != fasthttp.StatusConflict {
		return nil, fmt.Errorf("%s %s: %d: %s", method, path, code, bytes.TrimSpace(c.response.Body()))
	}
	return &c.response, nil
}
