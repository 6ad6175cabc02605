//go:build linux

package loss

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/multinode-go/multinode/bench/internal/child"
)

// Roles of this program, which is also all the processes that it starts.
const (
	partRole     = "loss part"
	loadRole     = "loss load"
	serverRole   = "loss server"
	preforkRole  = "loss prefork"
	strangerRole = "loss stranger"
)

// Roles returns what this program runs in each of them.
func Roles() map[string]func() error {
	return map[string]func() error{
		partRole: runPart, loadRole: runLoad, serverRole: runServer, preforkRole: runPrefork, strangerRole: runStranger,
	}
}

const patience = child.Patience

// runner is a load process at work.
type runner struct {
	*child.Process
	told chan tally // has the last that it has said
	end  chan tally // gets one value: all of it
}

func (l load) start() (*runner, error) {
	p, err := child.Run(loadRole, l)
	if err != nil {
		return nil, err
	}
	return follow(p), nil
}

// follow reads what a load process says.
func follow(p *child.Process) *runner {
	r := &runner{Process: p, told: make(chan tally, 1), end: make(chan tally, 1)}
	go func() { // ends with standard output
		defer close(r.end)
		for line := range p.Lines() {
			var t tally
			whole, isEnd := strings.CutPrefix(line, "end ")
			if json.Unmarshal([]byte(whole), &t) != nil {
				continue
			}
			if isEnd {
				r.end <- t
				continue
			}
			select {
			case <-r.told:
			default:
			}
			r.told <- t
		}
	}()
	return r
}

// await returns when the load has got so far.
func (r *runner) await(far func(tally) bool) error {
	for timeout := time.After(patience); ; {
		select {
		case t := <-r.told:
			if far(t) {
				return nil
			}
		case <-r.Ended():
			return fmt.Errorf("the load has ended: %w", r.Wait())
		case <-timeout:
			return errors.New("the load does not get on")
		}
	}
}

func anyAnswer(t tally) bool { return t.Requests > 0 }

// finish ends the load, and returns what came of it.
func (r *runner) finish() (tally, error) {
	err := r.Stop(nil)
	t, ok := <-r.end
	if !ok || err != nil {
		return t, fmt.Errorf("load: it has ended too early: %w", err)
	}
	return t, nil
}

// tail returns the end of a file.
func tail(path string, size int) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(bytes.TrimSpace(content[max(0, len(content)-size):]))
}
