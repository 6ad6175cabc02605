package cluster

import (
	"bytes"
	"fmt"
	"os"
)

// isWorkerProcess tells whether a process was started as a worker: /proc shows the environment with which it was, also
// what it has unset since.
func isWorkerProcess(pid int) bool {
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	return err == nil && (bytes.HasPrefix(environ, []byte(roleVariable+"=")) || bytes.Contains(environ, []byte("\x00"+roleVariable+"=")))
}
