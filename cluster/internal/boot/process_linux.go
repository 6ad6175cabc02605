package boot

import (
	"bytes"
	"fmt"
	"os"
)

// hasRole looks at the environment with which the process was started: /proc shows what it has unset since, too.
func hasRole(pid int) bool {
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	return err == nil && (bytes.HasPrefix(environ, []byte(roleVariable+"=")) || bytes.Contains(environ, []byte("\x00"+roleVariable+"=")))
}
