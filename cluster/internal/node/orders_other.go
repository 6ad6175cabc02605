//go:build !unix

package node

import "os"

// orderSignals are for masters of workers, which there are none of here.
var orderSignals []os.Signal

func hungUp(os.Signal) bool { return false }
