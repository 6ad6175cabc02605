package cost

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// patience is how long a process may take beyond what it was told. It is killed then: a system that hangs must not
// hang this program. It is no bound for the speed of a machine.
const patience = 5 * time.Minute

// process is one of our processes that talks with us: lines on its standard output, JSON on its standard input, whose
// end is also its own.
type process struct {
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Scanner
	ends os.Signal // what tells it to end; nil: the end of its standard input
}

func startProcess(name string, cmd *exec.Cmd, gomaxprocs int) (*process, error) {
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, "GOMAXPROCS="+strconv.Itoa(gomaxprocs))
	p := &process{name: name, cmd: cmd}
	var err error
	if p.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewScanner(out)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return p, nil
}

// line returns the next line that starts with prefix, without it. Others are skipped.
func (p *process) line(prefix string, within time.Duration) (string, error) {
	watchdog := time.AfterFunc(within+patience, p.kill)
	defer watchdog.Stop()
	for p.out.Scan() {
		if rest, ok := strings.CutPrefix(p.out.Text(), prefix); ok {
			return rest, nil
		}
	}
	return "", fmt.Errorf("%s has ended, or hung and was killed, before it said %q", p.name, prefix)
}

// tell sends v as JSON.
func (p *process) tell(v any) error {
	if err := json.NewEncoder(p.in).Encode(v); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	return nil
}

func (p *process) kill() { _ = p.cmd.Process.Kill() } // it fails when the process has ended

// end tells the process to end; wait waits for it. Those of a team end at the same time.
func (p *process) end() {
	_ = p.in.Close()
	if p.ends != nil {
		_ = p.cmd.Process.Signal(p.ends) // it fails when the process has ended
	}
}

func (p *process) wait() error {
	watchdog := time.AfterFunc(patience, p.kill)
	defer watchdog.Stop()
	for p.out.Scan() { // or it would block
	}
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	return nil
}
