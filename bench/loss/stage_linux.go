package loss

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/multinode-go/multinode/bench/internal/child"
)

// nobody is the user that those without privilege are, when this program has it.
const nobody = 65534

// stage is where parts are proved: a directory and a program for a user without privilege.
type stage struct {
	dir     string
	program string
	stderr  io.Writer
}

// newStage copies this program to where anybody may run it: that of `go run` is in a directory of its user alone.
func newStage(stderr io.Writer) (_ *stage, err error) {
	dir, err := os.MkdirTemp("", "loss")
	if err != nil {
		return nil, err
	}
	s := &stage{dir: dir, program: filepath.Join(dir, "bench"), stderr: stderr}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	content, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(s.program, content, 0o700); err != nil {
		return nil, err
	}
	if os.Getuid() != 0 {
		return s, nil
	}
	return s, errors.Join(os.Chmod(s.program, 0o755), os.Chown(dir, nobody, nobody))
}

func (s *stage) close() error { return os.RemoveAll(s.dir) }

func (s *stage) user() string {
	if os.Getuid() == 0 {
		return fmt.Sprintf("uid %d", nobody)
	}
	return fmt.Sprintf("uid %d", os.Getuid())
}

// prove runs a part in a process of its own, without privilege unless it needs some. It returns no report when that is not
// to be had.
func (s *stage) prove(ctx context.Context, p part, c config) (*report, error) {
	if p.privileged && os.Getuid() != 0 {
		fmt.Fprintf(s.stderr, "skipped: %s needs root: sudo go run ./bench loss -only %s\n\n", p.name, p.name)
		return nil, nil
	}
	c.Part = p.name
	cmd, err := child.Command(ctx, partRole, c)
	if err != nil {
		return nil, err
	}
	cmd.Path = s.program
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = patience
	cmd.Env = append(cmd.Env, "TMPDIR="+s.dir)
	cmd.Dir = s.dir
	cmd.Stderr = s.stderr
	if os.Getuid() == 0 && !p.privileged {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%w (%s)", err, bytes.TrimSpace(out))
	}
	r := new(report)
	return r, json.Unmarshal(out, r)
}

// checkMigration makes sure that it is not the kernel that saves what a listener leaves behind.
func checkMigration() error {
	const path = "/proc/sys/net/ipv4/tcp_migrate_req"
	value, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil // a kernel without it
	}
	if err == nil && strings.TrimSpace(string(value)) != "0" {
		err = errors.New("net.ipv4.tcp_migrate_req is not 0, so the kernel would help: sudo sysctl net.ipv4.tcp_migrate_req=0")
	}
	return err
}
