package load_test

import (
	"context"
	"fmt"
	"time"

	"github.com/multinode-go/multinode/bench/load"
)

func ExampleStart() {
	r, err := load.Start(context.Background(), load.Plan{
		Addrs: []string{"127.0.0.1:8080"}, Connections: 100, KeepAlive: true, Rate: 2000, Warmup: time.Second, Duration: 10 * time.Second,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	<-r.Begun() // what is measured elsewhere, as CPU time, begins here, too
	result, err := r.Wait()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%.0f requests/s, p99 %v, %d failed\n", result.Rate, result.Quantile(99), result.Failures())
}
