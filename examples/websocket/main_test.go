package main

import (
	"context"
	"fmt"
	"testing"

	"github.com/coder/websocket"

	"github.com/multinode-go/multinode/examples/internal/reload"
)

func TestMain(m *testing.M) { reload.Main(m, run) }

func TestReload(t *testing.T) { reload.Test(t, talk, talk, talk, talk) }

// talk is a client that says one thing after the other, and goes elsewhere when it is told to.
func talk(addr string) reload.Client {
	var conn *websocket.Conn
	say := func(ctx context.Context, text string) error {
		if conn == nil {
			var err error
			if conn, _, err = websocket.Dial(ctx, "ws://"+addr, nil); err != nil {
				return err
			}
		}
		if err := conn.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
			// The close frame may have come before: it is the next to read.
			_, _, readErr := conn.Read(ctx)
			return fmt.Errorf("%w (%w)", err, readErr)
		}
		_, answer, err := conn.Read(ctx)
		if err == nil && string(answer) != text {
			err = fmt.Errorf("%q was answered with %q", text, answer)
		}
		return err
	}
	n := 0
	return reload.Client{
		Do: func(ctx context.Context) error {
			n++
			for {
				err := say(ctx, fmt.Sprint("number ", n))
				if websocket.CloseStatus(err) != websocket.StatusGoingAway {
					return err
				}
				conn.CloseNow()
				conn = nil // and say it again
			}
		},
		Close: func() { conn.Close(websocket.StatusNormalClosure, "") },
	}
}
