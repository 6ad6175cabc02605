package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/multinode-go/multinode/examples/internal/reload"
)

func TestMain(m *testing.M) { reload.Main(m, run) }

func TestReload(t *testing.T) { reload.Test(t, listen, listen, listen, listen) }

// listen is a client that wants each event once, as an EventSource gets them.
func listen(addr string) reload.Client {
	tr := new(http.Transport)
	var body io.ReadCloser
	var events *bufio.Reader
	last := 0
	connect := func() error {
		request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+addr, nil)
		if err != nil {
			return err
		}
		request.Header.Set("Last-Event-ID", fmt.Sprint(last))
		response, err := (&http.Client{Transport: tr}).Do(request)
		if err != nil {
			return err
		}
		body, events = response.Body, bufio.NewReader(response.Body)
		if response.StatusCode != http.StatusOK {
			return errors.New(response.Status)
		}
		return nil
	}
	return reload.Client{
		Do: func(context.Context) error {
			for {
				if events == nil {
					if err := connect(); err != nil {
						return err
					}
				}
				var id, number int
				line, err := events.ReadString('\n')
				if errors.Is(err, io.EOF) && line == "" { // a whole answer, between two events
					events = nil
					continue
				}
				if err != nil {
					return err
				}
				data, err := events.ReadString('\n')
				if err != nil {
					return err
				}
				if _, err := events.ReadString('\n'); err != nil {
					return err
				}
				_, err = fmt.Sscanf(line+strings.TrimSpace(data), "id: %d\ndata: number %d", &id, &number)
				if last++; err != nil || id != last || number != last {
					return fmt.Errorf("event %d is %q %q: %w", last, line, data, err)
				}
				return nil
			}
		},
		Close: func() {
			_ = body.Close()
			tr.CloseIdleConnections()
		},
	}
}
