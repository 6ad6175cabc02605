// Package child runs the processes of a measurement: servers and load, most of which are this program again in another role.
//
// A child is told its task when it starts, and more by lines on its standard input, whose end is the order to end. It answers
// in lines on its standard output.
package child

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// One variable tells a process its role, another holds its task as JSON.
const (
	roleVariable = "MULTINODE_BENCH_ROLE"
	taskVariable = "MULTINODE_BENCH_TASK"
)

// Patience bounds each wait for a process beyond the time that its work takes. It is killed then: a process that hangs must
// not hang this program. It is no bound for the speed of a machine.
const Patience = 5 * time.Minute

// Become runs this process in its role, and ends it, if it was started in one of these roles. A main begins with it.
func Become(roles ...map[string]func() error) {
	for _, of := range roles {
		if run, ok := of[os.Getenv(roleVariable)]; ok {
			if err := run(); err != nil {
				fmt.Fprintln(os.Stderr, "bench:", err)
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
}

// Role is what a process does in a role whose task is a T.
func Role[T any](run func(task T) error) func() error {
	return func() error {
		var task T
		if err := json.Unmarshal([]byte(os.Getenv(taskVariable)), &task); err != nil {
			return fmt.Errorf("task of %s: %w", os.Getenv(roleVariable), err)
		}
		return run(task)
	}
}

// AwaitEnd returns when this process is told to end.
func AwaitEnd() error {
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// Serve calls serve, and end when this process is told to end. Then serve returns that it was closed.
func Serve(serve, end func() error) error {
	ended := make(chan error, 1)
	go func() { ended <- errors.Join(AwaitEnd(), end()) }() // until the process ends
	if err := serve(); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return <-ended
}

// Command is this program in a role. It is killed when ctx is done.
func Command(ctx context.Context, role string, task any) (*exec.Cmd, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(task)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program)
	cmd.Env = append(os.Environ(), roleVariable+"="+role, taskVariable+"="+string(text), "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	return cmd, nil
}

// SetGOMAXPROCS sets that of a command. 0 leaves it to the Go runtime, whatever this process was told.
func SetGOMAXPROCS(cmd *exec.Cmd, n int) {
	const variable = "GOMAXPROCS="
	cmd.Env = slices.DeleteFunc(cmd.Environ(), func(v string) bool { return strings.HasPrefix(v, variable) })
	if n > 0 {
		cmd.Env = append(cmd.Env, variable+strconv.Itoa(n))
	}
}

// Process is a child that was started. Its methods may be called at the same time.
type Process struct {
	Name string
	In   io.WriteCloser // its standard input

	cmd   *exec.Cmd
	lines chan string   // closed at the end of the output
	ended chan struct{} // closed when it has ended
	err   error         // why; readable after ended
}

// unread is how many lines are kept for who reads them. What comes beyond them is dropped: a process must not wait for us.
const unread = 1024

// longestLine bounds a line: the result of a load with many failures.
const longestLine = 64 << 20

// Start starts a command. The caller must Wait or Stop.
func Start(name string, cmd *exec.Cmd) (*Process, error) {
	p := &Process{Name: name, cmd: cmd, lines: make(chan string, unread), ended: make(chan struct{})}
	var err error
	if p.In, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	// A pipe of our own, whose end is not that of the process: its workers hold it, too.
	read, write, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, p.In.Close())
	}
	cmd.Stdout = write
	if err := errors.Join(cmd.Start(), write.Close()); err != nil {
		return nil, errors.Join(err, read.Close(), p.In.Close())
	}
	go p.read(read) // ends when the other end of the pipe is closed everywhere
	go p.reap()     // ends with the process
	return p, nil
}

// StartLogged is Start for a command whose standard error goes to the end of a file.
func StartLogged(name string, cmd *exec.Cmd, path string) (*Process, error) {
	log, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stderr = log
	return Start(name, cmd)
}

// LogEnd returns the last bytes of such a file, or why it cannot be read.
func LogEnd(path string, size int) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(bytes.TrimSpace(content[max(0, len(content)-size):]))
}

// Run starts this program in a role.
func Run(role string, task any) (*Process, error) {
	cmd, err := Command(context.Background(), role, task)
	if err != nil {
		return nil, err
	}
	return Start(role, cmd)
}

func (p *Process) read(out io.ReadCloser) {
	defer close(p.lines)
	defer out.Close()
	scanner := bufio.NewScanner(out)
	scanner.Buffer(nil, longestLine)
	for scanner.Scan() {
		select {
		case p.lines <- scanner.Text():
		default:
		}
	}
}

func (p *Process) reap() {
	p.err = p.cmd.Wait()
	close(p.ended)
}

// PID returns the id of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Ended is closed when the process has ended. Its workers may go on.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Lines returns what it writes. It is closed when neither the process nor a worker can write any more.
func (p *Process) Lines() <-chan string { return p.lines }

// Tell sends v as a line of JSON.
func (p *Process) Tell(v any) error {
	if err := json.NewEncoder(p.In).Encode(v); err != nil {
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	return nil
}

// Await returns the next line that starts with one of some prefixes, without it. Other lines are skipped.
func (p *Process) Await(ctx context.Context, prefixes ...string) (string, error) {
	for ended, late := p.ended, (<-chan time.Time)(nil); ; {
		select {
		case line, ok := <-p.lines:
			if !ok {
				return "", p.silent(prefixes)
			}
			for _, prefix := range prefixes {
				if rest, ok := strings.CutPrefix(line, prefix); ok {
					return rest, nil
				}
			}
		case <-ended: // workers may hold the pipe; what it has written is here soon
			ended, late = nil, time.After(time.Second)
		case <-late:
			return "", p.silent(prefixes)
		case <-ctx.Done():
			return "", fmt.Errorf("%s has not said %q: %w", p.Name, prefixes, context.Cause(ctx))
		}
	}
}

func (p *Process) silent(prefixes []string) error {
	return fmt.Errorf("%s has ended before it said %q", p.Name, prefixes)
}

// Line is Await for work that takes some time. A process that says nothing is killed after Patience beyond it.
func (p *Process) Line(within time.Duration, prefix string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), within+Patience)
	defer cancel()
	line, err := p.Await(ctx, prefix)
	if ctx.Err() != nil {
		p.Kill()
	}
	return line, err
}

// Signal sends a signal to the process, unless it has ended.
func (p *Process) Signal(signal os.Signal) error { return p.cmd.Process.Signal(signal) }

// Kill kills the process.
func (p *Process) Kill() { _ = p.Signal(os.Kill) } // it fails when the process has ended

// End tells the process to end, by the end of its standard input and a signal, if that is not nil.
func (p *Process) End(signal os.Signal) {
	_ = p.In.Close()
	if signal != nil {
		_ = p.Signal(signal) // it fails when the process has ended
	}
}

// Wait returns when the process has ended, and kills it after Patience.
func (p *Process) Wait() error {
	timeout := time.NewTimer(Patience)
	defer timeout.Stop()
	select {
	case <-p.ended:
	case <-timeout.C:
		p.Kill()
		<-p.ended
		return fmt.Errorf("%s did not end in %v and was killed", p.Name, Patience)
	}
	if p.err != nil {
		return fmt.Errorf("%s: %w", p.Name, p.err)
	}
	return nil
}

// Stop tells the process to end, and waits for it.
func (p *Process) Stop(signal os.Signal) error {
	p.End(signal)
	return p.Wait()
}
