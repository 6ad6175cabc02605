package main

import (
	"context"
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"

	"github.com/multinode-go/multinode/examples/internal/reload"
)

func TestMain(m *testing.M) { reload.Main(m, run) }

func TestReload(t *testing.T) {
	reload.Test(t, calls(0), calls(0), calls(20), calls(3), streams, streams, streams)
}

func dial(addr string) *grpc.ClientConn {
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry())
	if err != nil {
		panic(err) // of a wrong address
	}
	return conn
}

// calls is a client of unary calls, on one connection or a new one for each so many.
func calls(perConn int) func(addr string) reload.Client {
	return func(addr string) reload.Client {
		conn, n := dial(addr), 0
		return reload.Client{Close: func() { conn.Close() }, Do: func(ctx context.Context) error {
			if n++; perConn > 0 && n%perConn == 0 {
				conn.Close()
				conn = dial(addr)
			}
			answer, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, new(grpc_health_v1.HealthCheckRequest))
			if err == nil && answer.Status != grpc_health_v1.HealthCheckResponse_SERVING {
				err = fmt.Errorf("the answer is %v", answer.Status)
			}
			return err
		}}
	}
}

// streams is a client of streams that last for some time, with a question and an answer now and then.
func streams(addr string) reload.Client {
	conn := dial(addr)
	return reload.Client{Close: func() { conn.Close() }, Do: func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := grpc_reflection_v1.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
		if err != nil {
			return err
		}
		for range 3 {
			if err := stream.Send(&grpc_reflection_v1.ServerReflectionRequest{
				MessageRequest: new(grpc_reflection_v1.ServerReflectionRequest_ListServices),
			}); err != nil {
				return err
			}
			answer, err := stream.Recv()
			if err != nil {
				return err
			}
			if len(answer.GetListServicesResponse().GetService()) == 0 {
				return fmt.Errorf("the answer is %v", answer)
			}
			time.Sleep(time.Millisecond)
		}
		return stream.CloseSend()
	}}
}
