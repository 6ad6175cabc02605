package cluster

import (
	"os"
	"os/signal"
	"syscall"
	"time"
)

// killTimeout bounds what is done after the second signal.
const killTimeout = 2 * time.Second

// stopSignals are those that stop a node, less those that the process was started to ignore, as a shell does with
// SIGINT for what runs in the background.
func stopSignals() (signals []os.Signal) {
	for _, sig := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		if !signal.Ignored(sig) {
			signals = append(signals, sig)
		}
	}
	return signals
}

// passedOn is how long after its first signal a worker takes another for the same wish: a terminal interrupts, and a
// service manager terminates, master and workers, and the master may pass on what its workers have got already.
const passedOn = time.Second

// signals returns the signals that a node takes: those that stop it, and the orders to a master, which do nothing to a
// worker. A signal that the process was started to ignore is not taken.
func (n *Node) signals() []os.Signal {
	signals := stopSignals()
	for sig := range orders {
		if !signal.Ignored(sig) {
			signals = append(signals, sig)
		}
	}
	return signals
}

// obey carries out an order that a signal has brought.
func (n *Node) obey(sig os.Signal) {
	if !n.IsMaster() || n.master == nil || n.isStopping() {
		return // a terminal, or a pkill, reaches workers as well
	}
	n.opts.Logger.Info("order by signal", "signal", sig.String())
	order := orders[sig]
	go func() { // ends with the order, which ends with the node
		_ = order(n) // it is in the log
	}()
}

// watchSignals stops the node with the first signal and kills it with the second, and has orders carried out. It is a
// goroutine that ends with the node.
func (n *Node) watchSignals(signals chan os.Signal) {
	defer signal.Stop(signals)
	var first time.Time
	for {
		select {
		case sig := <-signals:
			switch {
			case orders[sig] != nil && !hungUp(sig):
				n.obey(sig)
			case first.IsZero():
				first = time.Now()
				n.opts.Logger.Info("stopping", "signal", sig.String(), "id", n.ID(), "slot", n.Slot(),
					"timeout", n.opts.StopTimeout)
				n.stop(nil, n.opts.StopTimeout)
			case n.IsMaster() || time.Since(first) >= passedOn:
				n.kill(sig)
				return
			}
		case <-n.done:
			return
		}
	}
}

// kill ends the process at once with sig, as if it had never been caught; on the master the workers first.
func (n *Node) kill(sig os.Signal) {
	n.opts.Logger.Warn("second signal: killing", "signal", sig.String(), "id", n.ID(), "slot", n.Slot())
	n.stopMu.Lock()
	n.raise = sig
	n.stopMu.Unlock()
	n.hurry()
	select {
	case <-n.done: // it had ended before it saw the signal
	case <-time.After(killTimeout):
	}
	raiseSignal(sig)
}

// raiseSignal ends this process with sig, and by exit where the signal does not: for process 1 the kernel has no
// default action.
func raiseSignal(sig os.Signal) {
	signal.Reset(sig)
	number, ok := sig.(syscall.Signal)
	if !ok {
		os.Exit(1)
	}
	if self, err := os.FindProcess(os.Getpid()); err == nil && self.Signal(sig) == nil && os.Getpid() != 1 {
		time.Sleep(killTimeout) // the signal is on its way
	}
	os.Exit(128 + int(number))
}
