package roles

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
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

// Shop is a load on a catalogue. Each request goes to the connection that is
// free; without a rate, each connection sends the next request when it has its answer.
type Shop struct {
	Addr           string
	Connections    int
	Warm, Duration time.Duration
	Rate           float64 // requests a second of all connections together, at random (a Poisson process); 0: a closed loop
}

// ShopResult is what it answers.
type ShopResult struct {
	Reads, FromDatabase int64
	Writes, Conflicts   int64 // a conflict is a write that came after another one; it also reads
}

// product is one as it is in JSON.
type product struct {
	ID      int64  `json:"id"`
	Name    string `json:"name"`
	Price   int64  `json:"price"`
	Version int64  `json:"version"`
}

// shopper is the load process.
type shopper struct {
	Shop
	counts, end time.Time
	versions    [products + 1]atomic.Int64 // that were seen last

	mu    sync.Mutex
	times *hdrhistogram.Histogram // guarded by mu; of reads
	r     Result                  // guarded by mu
}

// runShopper is that process.
func runShopper(l Shop) error {
	s := &shopper{Shop: l, times: newHistogram()}
	if err := s.look(); err != nil {
		return err
	}
	var customers []*customer
	for i := range s.Connections {
		customers = append(customers, newCustomer(s.Addr, uint64(i)))
	}
	now := time.Now()
	s.counts, s.end = now.Add(s.Warm), now.Add(s.Warm+s.Duration)
	p := pace{senders: s.Connections, begin: now, end: s.end, burst: 1}
	if s.Rate > 0 {
		random := rand.New(rand.NewPCG(0, products))
		p.next = func() time.Duration { return time.Duration(random.ExpFloat64() / s.Rate * float64(time.Second)) }
	}
	if err := p.run(func(i int, due time.Time) error { return s.buy(customers[i], due) }); err != nil {
		return err
	}
	s.r.Elapsed = s.Duration
	s.r.P50, s.r.P99 = time.Duration(s.times.ValueAtQuantile(50)), time.Duration(s.times.ValueAtQuantile(99))
	return json.NewEncoder(os.Stdout).Encode(s.r)
}

// look learns all versions.
func (s *shopper) look() error {
	c := newCustomer(s.Addr, 0)
	for after := int64(0); after < products; {
		answer, err := c.ask(fasthttp.MethodGet, fmt.Sprintf("/products?limit=500&after=%d", after), nil)
		if err != nil {
			return err
		}
		var list struct{ Products []product }
		if err := json.Unmarshal(answer.Body(), &list); err != nil || len(list.Products) == 0 {
			return fmt.Errorf("a list of products after %d: %w: %s", after, err, answer.Body())
		}
		for _, p := range list.Products {
			s.versions[p.ID].Store(p.Version)
			after = p.ID
		}
	}
	return nil
}

// buy makes a request.
func (s *shopper) buy(c *customer, due time.Time) (err error) {
	id := int64(c.popular.Uint64()) + 1
	isWrite := c.random.Float64() < writeShare
	method, path, body := fasthttp.MethodGet, fmt.Sprintf("/products/%d", id), []byte(nil)
	if isWrite {
		method = fasthttp.MethodPut
		body, err = json.Marshal(product{ID: id, Name: "Oak bowl, small", Price: 100 + id, Version: s.versions[id].Load()})
		if err != nil {
			return err
		}
	}
	answer, err := c.ask(method, path, body)
	if err != nil {
		return err
	}
	if err := s.learn(id, answer.Body()); err != nil {
		return err
	}
	s.count(due, time.Now(), isWrite, answer)
	return nil
}

// learn takes the version of a product as it is now.
func (s *shopper) learn(id int64, answer []byte) error {
	var p struct {
		product
		Current product
	}
	if err := json.Unmarshal(answer, &p); err != nil {
		return fmt.Errorf("answer %q: %w", answer, err)
	}
	version := max(p.Version, p.Current.Version)
	for known := s.versions[id].Load(); known < version && !s.versions[id].CompareAndSwap(known, version); {
		known = s.versions[id].Load()
	}
	return nil
}

func (s *shopper) count(due, now time.Time, isWrite bool, answer *fasthttp.Response) {
	if due.Before(s.counts) || now.After(s.end) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.r.Requests++
	switch {
	case answer.StatusCode() == fasthttp.StatusConflict:
		s.r.Shop.Conflicts++
	case isWrite:
		s.r.Shop.Writes++
	default:
		s.r.Shop.Reads++
		if string(answer.Header.Peek("Source")) == "database" {
			s.r.Shop.FromDatabase++
		}
		_ = s.times.RecordValue(min(max(1, now.Sub(due).Nanoseconds()), 10e9)) // in range
	}
}

// customer is a connection.
type customer struct {
	client   *fasthttp.HostClient
	random   *rand.Rand
	popular  *rand.Zipf
	request  fasthttp.Request
	response fasthttp.Response
}

func newCustomer(addr string, seed uint64) *customer {
	random := rand.New(rand.NewPCG(0, seed))
	return &customer{
		client: &fasthttp.HostClient{Addr: addr, MaxConns: 1, MaxIdemponentCallAttempts: 1},
		random: random, popular: rand.NewZipf(random, zipf, 1, products-1),
	}
}

// ask returns an answer that holds until the next one.
func (c *customer) ask(method, path string, body []byte) (*fasthttp.Response, error) {
	c.request.Reset()
	c.request.Header.SetMethod(method)
	c.request.SetRequestURI("http://" + c.client.Addr + path)
	c.request.SetBody(body)
	if err := c.client.Do(&c.request, &c.response); err != nil {
		return nil, err
	}
	if code := c.response.StatusCode(); code != fasthttp.StatusOK && code != fasthttp.StatusConflict {
		return nil, fmt.Errorf("%s %s: %d: %s", method, path, code, bytes.TrimSpace(c.response.Body()))
	}
	return &c.response, nil
}
