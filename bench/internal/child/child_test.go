package child

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/internal/leaktest"
)

const (
	talker = "child talker" // says its task, and then what it is told
	failed = "child failed" // fails
)

func TestMain(m *testing.M) {
	Become(map[string]func() error{
		talker: Role(func(task []string) error {
			for _, line := range task {
				fmt.Println(line)
			}
			fmt.Println("GOMAXPROCS", os.Getenv("GOMAXPROCS"))
			_, err := io.Copy(os.Stdout, os.Stdin)
			return err
		}),
		failed: func() error { return errors.New("no") },
	})
	os.Exit(leaktest.Run(m))
}

func TestProcess(t *testing.T) {
	cmd, err := Command(t.Context(), talker, []string{"other", "ready to talk"})
	require.NoError(t, err)
	SetGOMAXPROCS(cmd, 3)
	p, err := Start("talker", cmd)
	require.NoError(t, err)
	said, err := p.Line(0, "ready ")
	require.NoError(t, err)
	assert.Equal(t, "to talk", said, "others are skipped")
	said, err = p.Line(0, "GOMAXPROCS ")
	require.NoError(t, err)
	assert.Equal(t, "3", said)
	require.NoError(t, p.Tell(map[string]int{"a": 1}))
	said, err = p.Await(t.Context(), "x", "{")
	require.NoError(t, err)
	assert.Equal(t, `"a":1}`, said)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err = p.Await(ctx, "what it never says")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, p.Stop(nil))
	require.NoError(t, p.Stop(os.Kill), "it has ended")
	_, err = p.Line(0, "more")
	require.ErrorContains(t, err, "talker has ended before it said")
}

// TestUnreadLines has more lines than are kept: a process must not wait for who reads them.
func TestUnreadLines(t *testing.T) {
	p, err := Run(talker, make([]string, 2*unread))
	require.NoError(t, err)
	require.NoError(t, p.Stop(nil))
	lines := 0
	for range p.Lines() {
		lines++
	}
	assert.LessOrEqual(t, lines, unread)
	assert.Positive(t, lines)
}

func TestFailures(t *testing.T) {
	p, err := Run(failed, nil)
	require.NoError(t, err)
	exit := new(exec.ExitError)
	require.ErrorAs(t, p.Wait(), &exit)
	assert.Equal(t, 1, exit.ExitCode())
	p, err = Run(talker, nil)
	require.NoError(t, err)
	p.Kill()
	require.ErrorContains(t, p.Wait(), "killed")
	_, err = Start("nothing", exec.CommandContext(t.Context(), os.DevNull))
	require.ErrorIs(t, err, os.ErrPermission)
}
