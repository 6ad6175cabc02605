//go:build linux

package loss

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/multinode-go/multinode/cluster"
)

// control is a client of the control API of a master.
type control struct {
	http   *http.Client
	socket string
}

func newControl(socket string) *control {
	return &control{socket: socket, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}}
}

func (c *control) close() { c.http.CloseIdleConnections() }

func (c *control) status(ctx context.Context) (s cluster.Status, err error) {
	return s, c.do(ctx, http.MethodGet, "/status", &s)
}

// order waits until it is done.
func (c *control) order(ctx context.Context, path string) error {
	return c.do(ctx, http.MethodPost, path, nil)
}

func (c *control) do(ctx context.Context, method, path string, answer any) error {
	request, err := http.NewRequestWithContext(ctx, method, "http://multinode"+path, nil)
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s: %s", method, path, response.Status, body)
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(body, answer)
}

// events calls f for each event from now on, or from the one after that number on, until ctx is done or the master is gone.
func (c *control) events(ctx context.Context, after int, f func(cluster.Event)) error {
	path := "/events"
	if after >= 0 {
		path += fmt.Sprintf("?after=%d", after)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://multinode"+path, nil)
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			var e cluster.Event
			if err := json.Unmarshal([]byte(data), &e); err != nil {
				return err
			}
			f(e)
		}
	}
	return lines.Err()
}
