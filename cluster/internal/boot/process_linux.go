package boot

import (
	"bytes"
	"fmt"
	"os"
)

// hasRole reads the environment with which the process was started: /proc shows variables that it has unset since, too.
func hasRole(pid int) bool {
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	return err == nil && (bytes.HasPrefix(environ, []byte(roleVariable+"=")) || bytes.Contains(environ, []byte("\x00"+roleVariable+"=")))
}
