package proc

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// start starts a process and a goroutine that waits for its end. Its last words are the end of the output through words, which
// may be nil.
func start(cmd *exec.Cmd, words *tail) (*Process, error) {
	memory := outOfMemoryKills()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	exited := make(chan Exit, 1)
	go wait(cmd, words, memory, exited)
	return &Process{PID: cmd.Process.Pid, Signal: cmd.Process.Signal, Exited: exited}, nil
}

// wait is a goroutine that ends with the process. memory is how often the kernel had killed for want of memory before the
// process was started.
func wait(cmd *exec.Cmd, words *tail, memory int, exited chan<- Exit) {
	_ = cmd.Wait() // its error says less than the state
	e := exitOf(cmd.ProcessState)
	e.OutOfMemory = e.Signal == os.Kill && outOfMemoryKills() > memory
	if words != nil {
		e.LastWords = lastWords(words.finish())
	}
	exited <- e
}

// drainTimeout bounds the reading of a dead process's output: a process that it left behind may hold the pipe.
const drainTimeout = 100 * time.Millisecond

// tail copies the output of a process, and keeps the end of it.
type tail struct {
	reader *os.File
	out    io.WriteCloser
	done   chan struct{} // closed when copy has ended
	last   []byte        // copy's until then
}

// newTail copies from reader, which it closes, to out, which it closes too unless that is our standard error.
func newTail(reader *os.File, out io.WriteCloser) *tail {
	t := &tail{reader: reader, out: out, done: make(chan struct{})}
	go t.copy()
	return t
}

// copy is a goroutine that ends when no process holds the other end of the pipe, or with finish, which waits for it.
func (t *tail) copy() {
	defer close(t.done)
	buf := make([]byte, 4<<10)
	for {
		n, err := t.reader.Read(buf)
		_, _ = t.out.Write(buf[:n])
		t.keep(buf[:n])
		if err != nil {
			return
		}
	}
}

func (t *tail) keep(p []byte) {
	t.last = append(t.last, p...)
	if excess := len(t.last) - tailSize; excess > 0 {
		t.last = append(t.last[:0], t.last[excess:]...)
	}
}

// finish reads the rest, for drainTimeout at most, and returns the end of the output.
func (t *tail) finish() string {
	_ = t.reader.SetReadDeadline(time.Now().Add(drainTimeout))
	<-t.done
	_ = t.reader.Close()
	if t.out != os.Stderr {
		_ = t.out.Close()
	}
	return string(t.last)
}
