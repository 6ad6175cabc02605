package main

import (
	"context"
	"fmt"
	"net/rpc"
	"testing"

	"github.com/multinode-go/multinode/examples/internal/reload"
)

func TestMain(m *testing.M) { reload.Main(m, run) }

func TestReload(t *testing.T) { reload.Test(t, calls(1), calls(5), calls(20), calls(100)) }

// calls is a client of which so many calls go over one connection.
func calls(perConn int) func(addr string) reload.Client {
	return func(addr string) reload.Client {
		var client *rpc.Client
		closeClient := func() {
			if client != nil {
				_ = client.Close()
			}
		}
		n := 0
		return reload.Client{Close: closeClient, Do: func(context.Context) error {
			if n%perConn == 0 {
				closeClient()
				var err error
				if client, err = rpc.Dial("tcp", addr); err != nil {
					return err
				}
			}
			n++
			var quotient int
			if err := client.Call("Arithmetic.Divide", Numbers{3 * n, n}, &quotient); err != nil {
				return err
			}
			if quotient != 3 {
				return fmt.Errorf("%d / %d is %d", 3*n, n, quotient)
			}
			return nil
		}}
	}
}
