//go:build linux

package loss

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// This program is also all the processes that it starts: one variable says which, another holds its task as JSON.
const (
	roleVariable = "MULTINODE_LOSS_ROLE"
	taskVariable = "MULTINODE_LOSS_TASK"
)

// Role returns what this process is to run, if it was started as one of ours.
func Role() (run func() error, ok bool) {
	run, ok = map[string]func() error{
		"part": runPart, "load": runLoad, "server": runServer, "prefork": runPrefork, "stranger": runStranger,
	}[os.Getenv(roleVariable)]
	return run, ok
}

func readTask(task any) error { return json.Unmarshal([]byte(os.Getenv(taskVariable)), task) }

// patience bounds each wait for a process. It is killed then: a process that hangs must not hang this program. It is no bound
// for the speed of a process: a slow machine keeps it.
const patience = 5 * time.Minute

// process is one of ours. It is told to end by the end of its standard input, or by a signal.
type process struct {
	name  string
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string   // of standard output; closed with it
	ended chan struct{} // closed when it is gone
	err   error         // why; readable after ended
}

// command is this program in another role.
func command(role string, task any) (*exec.Cmd, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(task)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(context.Background(), program)
	cmd.Env = append(os.Environ(), roleVariable+"="+role, taskVariable+"="+string(text), "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	return cmd, nil
}

func startProcess(role string, task any) (*process, error) {
	cmd, err := command(role, task)
	if err != nil {
		return nil, err
	}
	return launch(role, cmd)
}

func launch(name string, cmd *exec.Cmd) (*process, error) {
	p := &process{name: name, cmd: cmd, lines: make(chan string), ended: make(chan struct{})}
	var err error
	if p.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	// A pipe of our own, whose end is not that of the process: its workers hold it, too.
	read, write, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, p.in.Close())
	}
	cmd.Stdout = write
	if err := errors.Join(cmd.Start(), write.Close()); err != nil {
		return nil, errors.Join(err, read.Close(), p.in.Close())
	}
	go p.read(read) // ends when nobody holds the other end
	go p.wait()     // ends with the process
	return p, nil
}

func (p *process) read(out io.ReadCloser) {
	defer close(p.lines)
	defer out.Close()
	scanner := bufio.NewScanner(out)
	scanner.Buffer(nil, 64<<20)
	for scanner.Scan() {
		p.lines <- scanner.Text()
	}
}

func (p *process) wait() {
	p.err = p.cmd.Wait()
	close(p.ended)
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// line returns the next line that starts with prefix, without it. Others are skipped.
func (p *process) line(prefix string) (string, error) {
	timeout := time.After(patience)
	for {
		select {
		case line, ok := <-p.lines:
			if !ok {
				return "", fmt.Errorf("%s has ended before it said %q", p.name, prefix)
			}
			if rest, ok := strings.CutPrefix(line, prefix); ok {
				return rest, nil
			}
		case <-timeout:
			p.kill()
			return "", fmt.Errorf("%s hung and was killed, before it said %q", p.name, prefix)
		}
	}
}

func (p *process) kill() { _ = p.cmd.Process.Kill() } // it fails when the process has ended

// forget lets the process write what nobody reads.
func (p *process) forget() {
	go func() { // ends with standard output
		for range p.lines {
		}
	}()
}

// stop lets the process end by a signal, or without one by the end of its standard input, and waits for it.
func (p *process) stop(signal os.Signal) error {
	_ = p.in.Close()
	if signal != nil {
		_ = p.cmd.Process.Signal(signal) // it may have ended
	}
	p.forget()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.kill()
		<-p.ended
		return fmt.Errorf("%s did not end in %v and was killed", p.name, patience)
	}
	if p.err != nil {
		return fmt.Errorf("%s: %w", p.name, p.err)
	}
	return nil
}

// runner is a load process at work.
type runner struct {
	*process
	told chan tally // has the last that it has said
	end  chan tally // gets one value: all of it
}

func (l load) start() (*runner, error) {
	p, err := startProcess("load", l)
	if err != nil {
		return nil, err
	}
	return follow(p), nil
}

// follow reads what a load process says.
func follow(p *process) *runner {
	r := &runner{process: p, told: make(chan tally, 1), end: make(chan tally, 1)}
	go func() { // ends with standard output
		defer close(r.end)
		for line := range p.lines {
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
		case <-r.ended:
			return fmt.Errorf("the load has ended: %w", r.err)
		case <-timeout:
			return errors.New("the load does not get on")
		}
	}
}

func anyAnswer(t tally) bool { return t.Requests > 0 }

// finish ends the load, and returns what came of it.
func (r *runner) finish() (tally, error) {
	_ = r.in.Close()
	select {
	case t, ok := <-r.end:
		<-r.ended
		if !ok || r.err != nil {
			return t, fmt.Errorf("load: it has ended too early: %w", r.err)
		}
		return t, nil
	case <-time.After(patience):
		r.kill()
		<-r.ended
		return tally{}, errors.New("load: it did not end and was killed")
	}
}

// tail returns the end of a file.
func tail(path string, size int) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(bytes.TrimSpace(content[max(0, len(content)-size):]))
}
