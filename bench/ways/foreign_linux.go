package ways

import (
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// What programs that are not ours are told.
var (
	//go:embed nginx.conf
	nginxConf string
	//go:embed cluster.js
	clusterJS string
	//go:embed wsgi.py
	wsgiPy string
)

// nodeVariable names the program, where it is not the one in PATH.
const nodeVariable = "MULTINODE_NODE"

func nodeProgram() string { return cmp.Or(os.Getenv(nodeVariable), "node") }

// installed looks for a program, and says how to install it.
func installed(program, install string) func() error {
	return func() error {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("ways: %w: apt-get install %s", err, install)
		}
		return nil
	}
}

func nginx() plan {
	return plan{
		command: func(c Config) (*exec.Cmd, error) {
			text := strings.NewReplacer("ADDRESS", c.Addr, "WORKERS", strconv.Itoa(c.Workers)).Replace(nginxConf)
			conf, err := c.write("nginx.conf", text)
			return foreign("nginx", "-p", c.Dir, "-c", conf, "-e", filepath.Join(c.Dir, "log")), err
		},
		version: func() (string, error) {
			version, err := output("nginx", "-v")
			return strings.TrimPrefix(version, "nginx version: ") + ", listen reuseport", err
		},
		reserves: true, silent: true, end: syscall.SIGQUIT, restart: (*Server).hangUp,
	}
}

func gunicorn() plan {
	const threads = "8" // how many requests one worker works at; Python runs one at a time
	return plan{
		command: func(c Config) (*exec.Cmd, error) {
			file, err := c.write("wsgi.py", wsgiPy)
			return foreign("gunicorn", "--config", file, "--chdir", c.Dir, "--bind", c.Addr, "--reuse-port", "--workers",
				strconv.Itoa(c.Workers), "--worker-class", "gthread", "--threads", threads, "--worker-connections", "16384",
				"--backlog", strconv.Itoa(maxBacklog), "--keep-alive", "3600", "--worker-tmp-dir", c.Dir, "wsgi:app"), err
		},
		version: func() (string, error) {
			version, err := output("gunicorn", "--version")
			return version + ", --reuse-port, gthread with " + threads + " threads", err
		},
		reserves: true, end: syscall.SIGTERM, restart: (*Server).hangUp,
	}
}

// nodeCluster is the cluster of Node.js, with a scheduling policy: "rr" or "none".
func nodeCluster(policy string) plan {
	return plan{
		command: func(c Config) (*exec.Cmd, error) {
			host, port, err := net.SplitHostPort(c.Addr)
			if err != nil {
				return nil, err
			}
			script, err := c.write("cluster.js", clusterJS)
			return foreign(nodeProgram(), script, policy, host, port, strconv.Itoa(c.Workers)), err
		},
		version: func() (string, error) {
			version, err := output(nodeProgram(), "--version")
			return fmt.Sprintf("node %s, cluster, scheduling policy %s", version, policy), err
		},
		restart: (*Server).order,
	}
}

// write makes a file for the program.
func (c Config) write(name, text string) (path string, err error) {
	path = filepath.Join(c.Dir, name)
	return path, os.WriteFile(path, []byte(text), 0o600)
}

// foreign is the command of a program that is not ours. Stop ends it.
func foreign(program string, args ...string) *exec.Cmd {
	return exec.CommandContext(context.Background(), program, args...)
}

// output returns what a program says of its version, in one line.
func output(program string, args ...string) (string, error) {
	text, err := foreign(program, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, text)
	}
	return strings.TrimSpace(string(text)), nil
}
