//go:build unix

package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

var signals = map[string]os.Signal{
	"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "QUIT": syscall.SIGQUIT, "HUP": syscall.SIGHUP,
	"USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2, "WINCH": syscall.SIGWINCH,
}

// parseSignal returns the signal of a name, with or without SIG in front; nil for "", which is that of the program.
func parseSignal(name string) (os.Signal, error) {
	if name == "" {
		return nil, nil
	}
	if sig := signals[strings.TrimPrefix(strings.ToUpper(name), "SIG")]; sig != nil {
		return sig, nil
	}
	return nil, fmt.Errorf("--stop-signal %s: take TERM, INT, QUIT, HUP, USR1, USR2 or WINCH", name)
}
