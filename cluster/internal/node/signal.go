package node

import (
	"os"
	"os/signal"
	"syscall"
	"time"
)

// PassedOn is how long after the first signal to stop another one counts as the same: a terminal interrupts, and a service
// manager terminates, master and workers; the master passes on signals that its workers may have got already; timeout(1) signals
// the process and then its group.
const PassedOn = time.Second

// signalBuffer is the room for signals that arrive faster than they are handled. A second one of a kind adds nothing.
const signalBuffer = 8

// stopSignals stop a node.
var stopSignals = []os.Signal{syscall.SIGTERM, os.Interrupt}

// watchSignals takes the signals of a node. It is called once; the goroutine that it starts ends with the node.
func (n *Node) watchSignals() {
	stops, others := make(chan os.Signal, signalBuffer), make(chan os.Signal, signalBuffer)
	notify := func(c chan os.Signal, sig os.Signal) {
		if n.cfg.Takes(sig) {
			signal.Notify(c, sig)
		}
	}
	for _, sig := range stopSignals {
		notify(stops, sig)
	}
	for _, sig := range orderSignals {
		notify(others, sig)
	}
	go n.handleSignals(stops, others)
}

// handleSignals stops the node with the first signal to stop, kills it with a later one, and has orders carried out. It is
// a goroutine that ends with the node. Orders have a channel of their own, so that a flood of them leaves room for a stop.
func (n *Node) handleSignals(stops, others chan os.Signal) {
	defer func() {
		signal.Stop(stops)
		signal.Stop(others)
		close(n.deaf)
	}()
	var first time.Time // of the signals to stop
	self := n.Mesh.Self()
	for {
		var sig os.Signal
		select {
		case sig = <-stops:
		case sig = <-others:
			if !hungUp(sig) {
				if n.role.Obey != nil {
					n.role.Obey(sig)
				}
				continue
			}
		case <-n.done:
			return
		}
		switch {
		case first.IsZero():
			first = time.Now()
			n.cfg.Logger.Info("stopping", "signal", sig.String(), "id", self.ID, "slot", self.Slot,
				"timeout", n.cfg.StopTimeout)
			n.Stop(nil, n.cfg.StopTimeout)
			if n.role.PassOn != nil {
				n.role.PassOn(sig)
			}
		case time.Since(first) >= PassedOn:
			n.cfg.Logger.Warn("second signal: killing", "signal", sig.String(), "id", self.ID, "slot", self.Slot)
			n.kill(sig)
			return
		}
	}
}
