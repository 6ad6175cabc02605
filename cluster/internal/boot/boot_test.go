package boot_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/internal/boot"
	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/internal/leaktest"
)

// childVariable makes the test binary a program that prints its role and handover.
const childVariable = "MULTINODE_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) == "" {
		os.Exit(leaktest.Run(m))
	}
	if err := json.NewEncoder(os.Stdout).Encode(look()); err != nil {
		panic(err)
	}
}

// report holds the role and the handover that a child finds.
type report struct {
	Role       *boot.Role
	RoleError  string
	Handover   *boot.Handover
	Error      string
	Procs      int
	Leftover   string // of the environment
	HasRole    bool
	Descriptor string // of the parent's that a grandchild still has
}

func look() (r report) {
	var err error
	if r.Role, err = boot.InheritedRole(); err != nil {
		r.RoleError = err.Error()
	}
	if r.Handover, err = boot.InheritedHandover(); err != nil {
		r.Error = err.Error()
	}
	r.Procs, r.HasRole = runtime.GOMAXPROCS(0), boot.HasRole(os.Getpid())
	for _, v := range os.Environ() {
		if strings.HasPrefix(v, "MULTINODE_ROLE=") || strings.HasPrefix(v, "MULTINODE_SUCCESSION=") {
			r.Leftover += v
		}
	}
	if runtime.GOOS == "linux" {
		open, _ := exec.Command("sh", "-c", "for fd in 3 4; do [ ! -e /proc/$$/fd/$fd ] || printf $fd; done").Output()
		r.Descriptor = string(open)
	}
	return r
}

// child starts this program with environment variables and two more descriptors, and returns what it finds.
func child(t *testing.T, environ ...string) (r report) {
	t.Helper()
	file, err := os.Open(os.DevNull)
	require.NoError(t, err)
	defer file.Close()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(append(os.Environ(), childVariable+"=1"), environ...)
	if runtime.GOOS != "windows" {
		cmd.ExtraFiles = []*os.File{file, file}
	}
	out, err := cmd.Output()
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(out, &r))
	return r
}

func TestRoleIsRead(t *testing.T) {
	role := boot.Role{
		Cluster: "c", Directory: "/run/c", ID: 7, Slot: 2, Generation: 3, Incarnation: 1 << 63,
		Port: portgroup.Key{Network: "tcp", Address: ":80", Nth: 1}, Procs: 3, Stderr: 3,
	}
	environ, err := role.Environ()
	require.NoError(t, err)
	r := child(t, environ)
	assert.Equal(t, &role, r.Role)
	assert.Equal(t, 3, r.Procs)
	assert.Empty(t, r.RoleError)
	assert.Nil(t, r.Handover)
	assert.Empty(t, r.Leftover)
	if runtime.GOOS == "linux" {
		assert.True(t, r.HasRole)
		assert.Equal(t, "4", r.Descriptor, "a grandchild gets what is not named")
	}
}

func TestHandoverIsRead(t *testing.T) {
	handover := boot.Handover{Cluster: "c", Directory: "/run/c", PID: 9, Generation: 2, Nodes: 4, Talk: 4}
	environ, err := handover.Environ()
	require.NoError(t, err)
	r := child(t, environ)
	assert.Equal(t, &handover, r.Handover)
	assert.Nil(t, r.Role)
	assert.Empty(t, r.Leftover)
	assert.False(t, r.HasRole)
	if runtime.GOOS == "linux" {
		assert.Equal(t, "3", r.Descriptor)
	}
}

func TestNothingIsInherited(t *testing.T) {
	r := child(t)
	assert.Nil(t, r.Role)
	assert.Nil(t, r.Handover)
	assert.Empty(t, r.RoleError+r.Error)
}

func TestGarbageIsRefused(t *testing.T) {
	r := child(t, "MULTINODE_ROLE=garbage", "MULTINODE_SUCCESSION=garbage")
	assert.Nil(t, r.Role)
	assert.Nil(t, r.Handover)
	assert.Contains(t, r.RoleError, "environment variable MULTINODE_ROLE, which only a master sets: ")
	assert.Contains(t, r.Error, "environment variable MULTINODE_SUCCESSION, which only a master sets: ")
	assert.Empty(t, r.Leftover)
}

// TestOtherVersionsUnderstand: a master of one version starts workers and successors of another.
func TestOtherVersionsUnderstand(t *testing.T) {
	role, err := boot.Role{Cluster: "c", Directory: "/d", ID: 1, Slot: 1, Generation: 1, Incarnation: 5, Procs: 2, Stderr: 3}.Environ()
	require.NoError(t, err)
	incarnation, err := json.Marshal(boot.Role{Incarnation: 5}.Incarnation)
	require.NoError(t, err)
	assert.Equal(t, fmt.Sprintf(`MULTINODE_ROLE={"cluster":"c","directory":"/d","id":1,"slot":1,"generation":1,"incarnation":%s,`+
		`"port":{"network":"","address":"","nth":0},"procs":2,"stderr":3}`, incarnation), role)
	handover, err := boot.Handover{Cluster: "c", Directory: "/d", PID: 4, Generation: 1, Nodes: 2, Talk: 3}.Environ()
	require.NoError(t, err)
	assert.Equal(t, `MULTINODE_SUCCESSION={"cluster":"c","directory":"/d","pid":4,"generation":1,"nodes":2,"talk":3}`, handover)
}
