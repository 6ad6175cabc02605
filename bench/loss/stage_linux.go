package loss

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/multinode-go/multinode/bench/internal/child"
)

// nobody is the user that those without privilege are, when this program has it.
const nobody = 65534

// stage is where parts are proved: a directory and a program for a user without privilege.
type stage struct {
	dir            string
	program        string
	uid            int // of who runs it there
	stdout, stderr io.Writer
}

// newStage copies this program to where anybody may run it: that of `go run` is in a directory of its user alone.
func newStage(stdout, stderr io.Writer) (*stage, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	content, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "loss")
	if err != nil {
		return nil, err
	}
	s := &stage{dir: dir, program: filepath.Join(dir, "bench"), uid: os.Getuid(), stdout: stdout, stderr: stderr}
	err = os.WriteFile(s.program, content, 0o700)
	if s.uid == 0 {
		s.uid = nobody
		err = errors.Join(err, os.Chmod(s.program, 0o755), os.Chown(dir, nobody, nobody))
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *stage) close() error { return os.RemoveAll(s.dir) }

// prove runs a part in a process of its own, without privilege unless it needs some. What needs some that is not to be had is
// skipped.
func (s *stage) prove(ctx context.Context, p part, c config) error {
	if p.privileged && os.Getuid() != 0 {
		fmt.Fprintf(s.stderr, "skipped: %s needs root: sudo go run ./bench loss -only %s\n\n", p.name, p.name)
		return nil
	}
	c.Part = p.name
	cmd, err := child.Command(ctx, partRole, c)
	if err != nil {
		return err
	}
	cmd.Path, cmd.Dir = s.program, s.dir
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = patience
	cmd.Env = append(cmd.Env, "TMPDIR="+s.dir)
	cmd.Stdout, cmd.Stderr = s.stdout, s.stderr
	if os.Getuid() == 0 && !p.privileged {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	return nil
}
