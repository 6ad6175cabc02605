package invalidate_test

import (
	"context"
	"fmt"

	"github.com/multinode-go/multinode/peer/invalidate"
)

// A cache in one process. With node.Bus() instead of nil, it is one of all processes of a cluster.
func Example() {
	ctx := context.Background()
	prices := map[string]int{"apple": 3} // a database
	cache, err := invalidate.New(nil, invalidate.Options[string, int]{Name: "prices"},
		func(_ context.Context, name string) (int, error) {
			fmt.Println("load", name)
			return prices[name], nil
		})
	if err != nil {
		panic(err)
	}
	defer cache.Close()
	for range 2 {
		price, err := cache.Get(ctx, "apple")
		fmt.Println(price, err)
	}
	prices["apple"] = 4
	fmt.Println(cache.Invalidate(ctx, "apple"))
	fmt.Println(cache.Get(ctx, "apple"))
	// Output:
	// load apple
	// 3 <nil>
	// 3 <nil>
	// <nil>
	// load apple
	// 4 <nil>
}
