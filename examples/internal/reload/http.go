package reload

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"
)

// Posts is a client that sends POSTs over keep-alive connections, with pauses. Its requests cannot be sent again, so that
// what gets lost is an error.
func Posts(addr string) Client {
	tr := new(http.Transport)
	client := &http.Client{Transport: tr}
	n := 0
	return Client{Close: tr.CloseIdleConnections, Do: func(ctx context.Context) error {
		n++
		if n%16 == 0 {
			time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
		}
		want := fmt.Sprint("number ", n)
		// A reader of this kind has no GetBody.
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr, struct{ io.Reader }{strings.NewReader(want)})
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err == nil && (response.StatusCode != http.StatusOK || string(body) != want) {
			err = fmt.Errorf("%q was answered with %s %q", want, response.Status, body)
		}
		return err
	}}
}
