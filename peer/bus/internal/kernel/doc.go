// Package kernel has the bus wait for the kernel in ways that the runtime does not know: a [Ticker] that does not change how
// the process waits for the network, and a [Poller] of a socket that is armed and disarmed without its goroutine.
//
// Both exist on Linux. Elsewhere their constructors return an error that Is errors.ErrUnsupported.
package kernel
