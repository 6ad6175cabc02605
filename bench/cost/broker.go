package cost

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/multinode-go/multinode/bench/cost/roles"
	"github.com/multinode-go/multinode/bench/internal/child"
)

const (
	// natsdPackage is the program that is the broker of NATS.
	natsdPackage = "github.com/multinode-go/multinode/bench/cost/natsd"
	// redisProgram is the server in Debian's package of this name.
	redisProgram = "redis-server"
	redisName    = "Redis"
	redisMissing = "Redis is left out: apt-get install " + redisProgram + "\n\n"
)

func hasRedis() bool {
	_, err := exec.LookPath(redisProgram)
	return err == nil
}

// redisCommand starts the server with its default configuration, without a file, on a free port.
func redisCommand(dir string) (cmd *exec.Cmd, addr string, err error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	addr = l.Addr().String()
	host, port, err := net.SplitHostPort(addr)
	cmd = exec.CommandContext(context.Background(), redisProgram, "--bind", host, "--port", port, "--save", "", "--dir", dir)
	cmd.Stderr = os.Stderr
	return cmd, addr, errors.Join(err, l.Close())
}

// brokerOf returns the name of a system's broker, if it has one.
func brokerOf(system string) string {
	for _, name := range []string{roles.NATS, redisName} {
		if strings.HasPrefix(system, name) {
			return name
		}
	}
	return ""
}

// startBroker returns the broker's address.
func (t *team) startBroker(name, natsd string) (addr string, err error) {
	switch name {
	case roles.NATS:
		cmd := exec.CommandContext(context.Background(), natsd)
		cmd.Stderr = os.Stderr
		broker, err := t.command(name, cmd)
		if err != nil {
			return "", err
		}
		return broker.Line(0, "ready ")
	case redisName:
		cmd, addr, err := redisCommand(t.dir)
		if err != nil {
			return "", err
		}
		broker, err := t.command(name, cmd)
		if err != nil {
			return "", err
		}
		t.signals = map[*child.Process]os.Signal{broker: syscall.SIGTERM}
		for line := ""; err == nil && !strings.Contains(line, "Ready to accept connections"); {
			line, err = broker.Line(0, "")
		}
		return addr, err
	default:
		return "", nil
	}
}
