package proc

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/multinode-go/multinode/internal/errline"
)

// ExtraFile is the descriptor that the first of an exec.Cmd's ExtraFiles has in the child.
const ExtraFile = 3

// StartSelf starts this program again, with env added to its environment. Errors call the process by its name.
//
// The standard error of the child is a pipe to us at first, which we copy to ours and remember the end of. The child has ours as
// [ExtraFile], to return to it (see [RestoreStderr]): if we die, a child that has done so can still write.
func StartSelf(name string, env ...string) (*Process, error) {
	cmd, err := Self(env...)
	if err != nil {
		return nil, fmt.Errorf("find the program to start: %w", err)
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("standard error of %s: %w", name, err)
	}
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = os.Stdout, writer, []*os.File{os.Stderr}
	stderr := newTail(reader, os.Stderr)
	p, err := start(cmd, stderr)
	if err = errline.Join(err, writer.Close()); err != nil { // the child has it now
		_ = stderr.finish()
		return nil, err
	}
	return p, nil
}

// Self returns a command that starts this program as it is on disk now, with the arguments of this process, and with env added
// to its environment.
func Self(env ...string) (*exec.Cmd, error) {
	path, err := selfPath()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(context.Background(), path, os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), env...)
	return cmd, nil
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

// ownFile is the file at that path.
var ownFile, _ = os.Stat(invoked)

// selfPath returns the path of this program as it is on disk now: the path by which it was started, so that a symbolic link
// which a deploy has changed leads to the new version. os.Executable has followed the link already; its path is returned if
// the other one was never ours (an argv[0] of the parent's own choice).
func selfPath() (string, error) {
	executable, err := os.Executable()
	if err != nil {
		return "", err
	}
	if self, err := os.Stat("/proc/self/exe"); err == nil && ownFile != nil && os.SameFile(self, ownFile) {
		return invoked, nil
	}
	return executable, nil
}
