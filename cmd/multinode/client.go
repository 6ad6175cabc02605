package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/multinode-go/multinode/cluster"
)

const (
	headerAPI  = "Multinode-API"
	apiVersion = "1"
	maxAnswer  = 16 << 20        // bytes that are read of an answer
	askTimeout = 5 * time.Second // for what a master answers at once
	askAgain   = 100 * time.Millisecond
)

// client talks to the master of a cluster.
type client struct {
	target
	places places // to say what else runs
	http   http.Client
}

func newClient(t target, p places) *client {
	return &client{t, p, http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dial(ctx, t.dir)
		},
	}}}
}

// status returns what the master knows, also as it was sent.
//
// A master that is just starting is asked again, for askTimeout in all.
func (c *client) status(ctx context.Context) (status cluster.Status, raw []byte, err error) {
	begin := time.Now()
	short, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var starting error // as it has answered
	for again := true; again; {
		raw, err = c.ask(short, http.MethodGet, "/status", nil)
		if again = errors.Is(err, errNoAPI); again {
			starting = err
			again = pause(short, askAgain)
		}
	}
	if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		err = cmp.Or(starting, c.silent(time.Since(begin), err))
	}
	if err != nil {
		return status, nil, err
	}
	if err := json.Unmarshal(raw, &status); err != nil {
		return status, nil, fmt.Errorf("the status of cluster %s: %w", c.name, err)
	}
	if status.Version != cluster.StatusVersion {
		return status, nil, fmt.Errorf("the status of cluster %s has version %d, and this tool knows %d: "+
			"take the multinode of the version that the cluster was built with", c.name, status.Version, cluster.StatusVersion)
	}
	return status, raw, nil
}

// post gives an order and waits until it is carried out.
func (c *client) post(ctx context.Context, path string, query url.Values) error {
	_, err := c.ask(ctx, http.MethodPost, path, query)
	return err
}

func (c *client) ask(ctx context.Context, method, path string, query url.Values) ([]byte, error) {
	answer, err := c.open(ctx, method, path, query)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return nil, c.explain(ctx, err)
	}
	return content, nil
}

// open returns the answer to a request, if the master has nothing against that.
func (c *client) open(ctx context.Context, method, path string, query url.Values) (*http.Response, error) {
	address := url.URL{Scheme: "http", Host: "multinode", Path: path, RawQuery: query.Encode()}
	r, err := http.NewRequestWithContext(ctx, method, address.String(), http.NoBody)
	if err != nil {
		return nil, err
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return nil, c.explain(ctx, err)
	}
	if err := c.check(answer); err != nil {
		return nil, errors.Join(err, answer.Body.Close())
	}
	return answer, nil
}

// explain says what a connection that failed means.
func (c *client) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return c.places.notRunning(ctx, c.target, err)
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err // without the address, which says nothing
	}
	return fmt.Errorf("the master of cluster %s has gone before it could answer: %w", c.name, err)
}

func (c *client) check(answer *http.Response) error {
	switch version := answer.Header.Get(headerAPI); version {
	case apiVersion:
	case "":
		return c.noAPI()
	default:
		return fmt.Errorf("the master of cluster %s speaks version %s of the control API, and this tool %s: "+
			"take the multinode of the version that the cluster was built with", c.name, version, apiVersion)
	}
	if answer.StatusCode < http.StatusBadRequest {
		return nil
	}
	var said struct {
		Error string `json:"error"`
	}
	err := json.NewDecoder(io.LimitReader(answer.Body, maxAnswer)).Decode(&said)
	if err != nil || said.Error == "" {
		said.Error = answer.Status
	}
	switch answer.StatusCode {
	case http.StatusBadRequest:
		return failure(codeUsage, errors.New(said.Error))
	case http.StatusConflict:
		return failure(codeBusy, errors.New(said.Error))
	default:
		return errors.New(said.Error)
	}
}

// eventStream reads what happens in a cluster.
type eventStream struct {
	client *client
	body   io.ReadCloser
	lines  *bufio.Reader
}

// events returns the events behind one, or with fromNow those to come. It is the caller's to close; the end of ctx ends it.
func (c *client) events(ctx context.Context, after int) (*eventStream, error) {
	query := url.Values{}
	if after != fromNow {
		query.Set("after", strconv.Itoa(after))
	}
	answer, err := c.open(ctx, http.MethodGet, "/events", query)
	if err != nil {
		return nil, err
	}
	return &eventStream{c, answer.Body, bufio.NewReader(answer.Body)}, nil
}

const fromNow = -1

// next returns the next event, also as it was sent. At the end of the stream the error is io.EOF, however it came.
func (s *eventStream) next() (e cluster.Event, raw string, err error) {
	for {
		line, err := s.lines.ReadString('\n')
		if err != nil {
			return e, "", io.EOF
		}
		data, found := strings.CutPrefix(strings.TrimSpace(line), "data:")
		if !found {
			continue
		}
		raw = strings.TrimSpace(data)
		if err := json.Unmarshal([]byte(raw), &e); err != nil {
			return e, "", fmt.Errorf("an event of cluster %s: %w", s.client.name, err)
		}
		return e, raw, nil
	}
}

func (s *eventStream) close() error { return s.body.Close() }

// follow sends what happens to a channel, which it closes at the end of the stream.
func (s *eventStream) follow(ctx context.Context, events chan<- cluster.Event) {
	defer close(events)
	for {
		e, _, err := s.next()
		if err != nil {
			return
		}
		select {
		case events <- e:
		case <-ctx.Done():
			return
		}
	}
}
