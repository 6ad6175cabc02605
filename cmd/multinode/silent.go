package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/multinode-go/multinode/internal/rendezvous"
)

// silent is the error of a master that has not answered in time. It says what is known of its process.
func (c *client) silent(waited time.Duration, err error) error {
	owner := c.owner()
	return fmt.Errorf("the master of cluster %s%s has not answered for %v%s: %w",
		c.name, describeMaster(owner), waited.Round(100*time.Millisecond), condition(owner.PID), err)
}

func describeMaster(owner rendezvous.Owner) string {
	if owner.PID == 0 {
		return ""
	}
	return fmt.Sprintf(" (pid %d, since %s)", owner.PID, owner.Since.Format(time.TimeOnly))
}

// condition describes the state of a process and the load of the machine as the kernel reports them, or is empty.
func condition(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	state, _, _ := strings.Cut(rest, " ")
	switch state {
	case "T", "t":
		return fmt.Sprintf("; it is stopped (kill -CONT %d lets it go on)", pid)
	case "D":
		return "; it waits for a disk or a device"
	}
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	average, _, _ := strings.Cut(string(load), " ")
	return fmt.Sprintf("; it lives, and the load average is %s", average)
}

// pause waits, and returns false when ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
