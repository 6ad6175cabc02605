package cluster

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/multinode-go/multinode/internal/descriptors"
	"github.com/multinode-go/multinode/peer"
)

// system is all that a master needs of the operating system, so that its rules can be run without.
type system struct {
	balances func() error // nil where the kernel balances the connections of a shared port
	start    func(role) (*process, error)
	adopt    func(peer.Info) (*process, error) // a process that is not our child
}

// process is a worker's process. What it is made of ends by itself once the process has.
type process struct {
	pid    int
	signal func(os.Signal) error
	exited <-chan exit // gets one value
	note   func()      // remembers what it has started; nil: that ends without us
}

// drainTimeout bounds the reading of what a dead worker has written: a process that it left behind may hold the pipe.
const drainTimeout = 100 * time.Millisecond

// startSelf is startProcess whose error tells of a limit that is too low.
func startSelf(r role) (*process, error) {
	p, err := startProcess(r)
	return p, descriptors.Explain(err)
}

// startProcess starts this program again as the worker with role r.
//
// Until it is ready, the worker's standard error is a pipe to us, which we copy to ours and remember the end of. Then
// it returns to ours by itself (see restoreStderr): a master that dies must not break its workers' standard error.
func startProcess(r role) (*process, error) {
	program, err := programPath()
	if err != nil {
		return nil, fmt.Errorf("find the program to start: %w", err)
	}
	r.Stderr = extraFile
	environ, err := r.environ()
	if err != nil {
		return nil, err
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("standard error of worker %d: %w", r.ID, err)
	}
	cmd := exec.CommandContext(context.Background(), program, os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), environ)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = os.Stdout, writer, []*os.File{os.Stderr}
	stderr := newTail(reader, os.Stderr)
	p, err := startAndWait(cmd, stderr)
	if err = join(err, writer.Close()); err != nil { // the worker has it now
		_ = stderr.finish()
		return nil, err
	}
	return p, nil
}

// startAndWait starts a process and a goroutine that waits for its end. Of what it writes to words, which may be nil, the
// last is remembered.
func startAndWait(cmd *exec.Cmd, words *tail) (*process, error) {
	memory := outOfMemoryKills()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	exited := make(chan exit, 1)
	go waitProcess(cmd, words, memory, exited)
	return &process{pid: cmd.Process.Pid, signal: cmd.Process.Signal, exited: exited}, nil
}

// invoked is the absolute path by which this program was started, if that can be known: before main, which may change the
// working directory.
var invoked = func() string {
	path, err := exec.LookPath(os.Args[0])
	if err != nil {
		return ""
	}
	path, err = filepath.Abs(path)
	if err != nil {
		return ""
	}
	return path
}()

// ownFile is what that path stood for.
var ownFile, _ = os.Stat(invoked)

// programPath returns the path of the program as it is on disk now. It is the one by which the program was started, so
// that a symbolic link which a deploy has changed leads to the new version; os.Executable has followed it already. If
// that path was never ours (an argv[0] of the parent's own choice), it is os.Executable's.
func programPath() (string, error) {
	executable, err := os.Executable()
	if err != nil {
		return "", err
	}
	if self, err := os.Stat("/proc/self/exe"); err == nil && ownFile != nil && os.SameFile(self, ownFile) {
		return invoked, nil
	}
	return executable, nil
}

// extraFile is the number that the first of exec.Cmd's ExtraFiles has in the child.
const extraFile = 3

// waitProcess is a goroutine that ends with the process.
func waitProcess(cmd *exec.Cmd, words *tail, memory int, exited chan<- exit) {
	_ = cmd.Wait() // its error says less than the state
	e := exitOf(cmd.ProcessState)
	e.outOfMemory = e.signal == os.Kill && outOfMemoryKills() > memory
	if words != nil {
		e.lastWords = lastWords(words.finish())
	}
	exited <- e
}

// tail copies what a worker writes, and keeps the end of it.
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

// finish reads what is left, for drainTimeout at most, and returns the end of what was written.
func (t *tail) finish() string {
	_ = t.reader.SetReadDeadline(time.Now().Add(drainTimeout))
	<-t.done
	_ = t.reader.Close()
	if t.out != os.Stderr {
		_ = t.out.Close()
	}
	return string(t.last)
}
