//go:build linux

package ways

import (
	"context"
	_ "embed"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

//go:embed cluster.js
var clusterJS []byte

// nodeVariable names the program, where it is not the one in PATH.
const nodeVariable = "MULTINODE_NODE"

func nodeProgram() string {
	if program := os.Getenv(nodeVariable); program != "" {
		return program
	}
	return "node"
}

func lookupNode() error {
	if _, err := exec.LookPath(nodeProgram()); err != nil {
		return fmt.Errorf("ways: %w: apt-get install nodejs, or set %s to the program", err, nodeVariable)
	}
	return nil
}

// nodePlan is the cluster of Node.js, with a scheduling policy: "rr" or "none".
func nodePlan(policy string) func(Config) (plan, error) {
	return func(c Config) (plan, error) {
		version, err := output(nodeProgram(), "--version")
		if err != nil {
			return plan{}, err
		}
		return plan{
			command: func(addr, dir string) (*exec.Cmd, error) {
				host, port, err := net.SplitHostPort(addr)
				if err != nil {
					return nil, err
				}
				script := filepath.Join(dir, "cluster.js")
				if err := os.WriteFile(script, clusterJS, 0o600); err != nil {
					return nil, err
				}
				return foreign(nodeProgram(), script, policy, host, port, strconv.Itoa(c.Workers)), nil
			},
			version: fmt.Sprintf("node %s, cluster, scheduling policy %s", version, policy),
			workers: c.Workers, restart: (*Server).order,
		}, nil
	}
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
