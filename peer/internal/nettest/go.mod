module github.com/multinode-go/multinode/peer/internal/nettest

go 1.26.0

require (
	github.com/multinode-go/multinode v0.0.0
	github.com/stretchr/testify v1.12.1
	golang.org/x/net v0.62.0
)

require (
	github.com/fsnotify/fsnotify v1.10.1 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace github.com/multinode-go/multinode => ../../..
